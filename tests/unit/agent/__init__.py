"""Tests of the script that the file server runs, without a Windows machine."""
