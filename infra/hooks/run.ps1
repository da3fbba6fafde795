# azd's hooks where there is PowerShell: finds a Python and hands on. Usage: ./infra/hooks/run.ps1 HOOK
Set-Location (Join-Path $PSScriptRoot '../..')
foreach ($python in 'py', 'python3', 'python') {
    if (-not (Get-Command $python -CommandType Application -ErrorAction SilentlyContinue)) { continue }
    & $python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>$null
    if ($LASTEXITCODE -eq 0) {
        & $python -B -m infra.hooks @args
        exit $LASTEXITCODE
    }
}
[Console]::Error.WriteLine('The hooks of Lifeboat need Python 3.11 or later, and none was found as py, python3 or python: install it, then run azd again.')
exit 1
