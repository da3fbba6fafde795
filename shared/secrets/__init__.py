"""SystemSecrets.JSON and other files in the Key Vault: checked, kept, looked into, held against the databases."""
