"""Door for the Functions host: registers what ``functions/`` offers to this app's role."""

import azure.functions as func

from functions import register

app = func.FunctionApp()
register(app)
