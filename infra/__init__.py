"""The infrastructure: Bicep, and the hooks that azd runs around it."""
