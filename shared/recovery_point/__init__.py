"""Recovery points: one record that names everything needed to recover App Service as of one moment."""
