# Lifeboat's function app as a container, for Functions on Azure Container Apps, where nothing keeps port 445 from going
# out but your own network. Which settings it needs there: docs/reaching-the-stamp.md. Which of the two apps it is, is
# told by LIFEBOAT_ROLE, as everywhere.
#
# The image of Microsoft carries the Functions host, Python, unixODBC and msodbcsql18. Its tag moves with each release of
# the host. To pin one build, and have the same bytes on every day, add what
#     docker buildx imagetools inspect mcr.microsoft.com/azure-functions/python:4-python3.12
# prints as the digest: FROM mcr.microsoft.com/azure-functions/python:4-python3.12@sha256:...
# and renew it monthly: the fixes of Debian and of the host come by it alone.
FROM mcr.microsoft.com/azure-functions/python:4-python3.12

# 8080, since who is not root may not open 80. WEBSITE_HOSTNAME must be there, or the Durable extension refuses its
# client ("Webhooks are not configured"); nothing of Lifeboat calls that address. The host writes no files but those
# below.
ENV ASPNETCORE_URLS=http://+:8080 \
    AzureFunctionsJobHost__fileWatchingEnabled=false \
    AzureFunctionsJobHost__logging__console__isEnabled=true \
    AzureFunctionsJobHost__logging__fileLoggingMode=never \
    AzureWebJobsScriptRoot=/home/site/wwwroot \
    WEBSITE_HOSTNAME=localhost:8080

# Into Python's own folder: the worker looks into .python_packages only where App Service runs it. Nothing is compiled,
# so there is nothing that a second stage would leave behind.
COPY requirements.txt /tmp/requirements.txt
RUN python -m pip install --no-cache-dir --only-binary=:all: --disable-pip-version-check -r /tmp/requirements.txt \
    && rm /tmp/requirements.txt

WORKDIR /home/site/wwwroot
COPY host.json function_app.py lifeboat.py requirements.txt ./
COPY functions ./functions
COPY shared ./shared

# The code belongs to root and can be read by all. 1654 is the user "app" of the .NET images below this one; these two
# folders are what the host writes to: the mark of its secrets, and its data.
RUN chmod -R a+rX,go-w /home/site/wwwroot \
    && install -d -o 1654 -g 1654 /azure-functions-host/Secrets /home/data /home/LogFiles

USER 1654:1654
EXPOSE 8080
