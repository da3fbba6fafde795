#Requires -Version 5.1
#Requires -PSEdition Desktop
<#
.SYNOPSIS
Has the share of this file server backed up into Lifeboat's vault by a scheduled task.

.DESCRIPTION
Made by "lifeboat.py agent-script" for one site; make it anew rather than change it by hand. It holds no secret.

    .\lifeboat-agent.ps1 -ToolPath C:\Downloads\restic.exe    install: once, as administrator
    .\lifeboat-agent.ps1 -StoreCredentials                    ask for the credentials again, when they have changed
    .\lifeboat-agent.ps1 -Uninstall                           remove task, credentials and logs

Everything lies in the folder "Lifeboat Agent" under Program Files, which only administrators and SYSTEM may look into:
this script, restic.exe, the credentials (encrypted by Windows for this machine), restic's cache and the logs.

The task runs as SYSTEM. Shadow copies ask for an administrator or SYSTEM; SYSTEM has no password that expires or that
somebody must keep, reads every file, and is what the encryption by the machine's own key is bound to here. An account
with "S4U" would need administrator's rights as well, and could not open what it has encrypted without its password.

The task's last result is the exit code: 0 done, 3 done in part, 1 failed, 10 no repository, 11 locked by someone else,
12 wrong repository password, 124 stopped at its time limit. Each run leaves one event in the Application log, source
"Lifeboat Agent", event id 1000 + exit code, and a log file.

.PARAMETER ToolPath
restic.exe, 0.19 or later, which is copied; or python.exe, which is not.

.PARAMETER LifeboatPath
lifeboat.py, where Lifeboat itself is the tool.

.PARAMETER CredentialKind
Who the agent is towards Azure. ServicePrincipal: an app registration of its own. ManagedIdentity: that of Azure Arc,
no secret at all. Sas, AccountKey: what they may do cannot be narrowed to what the agent needs.

.PARAMETER SkipProbe
Register the task though the repository cannot be reached now.

.PARAMETER StoreCredentials
Ask for the credentials and store them, nothing else.

.PARAMETER Uninstall
Remove everything that was installed.

.PARAMETER Run
What the task does; by hand it can be watched.
#>
[CmdletBinding(DefaultParameterSetName = 'Install')]
param(
    [Parameter(ParameterSetName = 'Install', Mandatory = $true)]
    [Parameter(ParameterSetName = 'Run', Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string] $ToolPath,

    [Parameter(ParameterSetName = 'Install')]
    [Parameter(ParameterSetName = 'Run')]
    [string] $LifeboatPath = '',

    [Parameter(ParameterSetName = 'Install')]
    [Parameter(ParameterSetName = 'StoreCredentials')]
    [ValidateSet('ServicePrincipal', 'ManagedIdentity', 'Sas', 'AccountKey')]
    [string] $CredentialKind = 'ServicePrincipal',

    [Parameter(ParameterSetName = 'Install')]
    [switch] $SkipProbe,

    [Parameter(ParameterSetName = 'StoreCredentials', Mandatory = $true)]
    [switch] $StoreCredentials,

    [Parameter(ParameterSetName = 'Uninstall', Mandatory = $true)]
    [switch] $Uninstall,

    [Parameter(ParameterSetName = 'Run', Mandatory = $true)]
    [switch] $Run
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# --- what is this site's ---

$Site = [ordered] @{}

# --- what is every site's ---

$AgentFolder = Join-Path -Path $env:ProgramFiles -ChildPath 'Lifeboat Agent'
$ScriptFile = Join-Path -Path $AgentFolder -ChildPath 'lifeboat-agent.ps1'
$CredentialFile = Join-Path -Path $AgentFolder -ChildPath 'credentials.bin'
$CacheFolder = Join-Path -Path $AgentFolder -ChildPath 'cache'
$LogFolder = Join-Path -Path $AgentFolder -ChildPath 'logs'
$TaskFolder = '\Lifeboat\'
$TaskName = 'Share backup'
$EventSource = 'Lifeboat Agent'
$SystemSid = 'S-1-5-18'
$AdministratorsSid = 'S-1-5-32-544'
$TrustedInstallerSid = 'S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464'
$LogsKept = 30
$Attempts = 3
$SecondsBetweenAttempts = 600
$TimedOut = 124
$EventTextLimit = 8000
$ProbeSeconds = 300

# By exit code: kind of event, and what the operator reads. The codes are those of restic and of Lifeboat.
$Outcomes = @{
    0   = @('Information', 'The share is backed up.')
    1   = @('Error', 'The backup has failed; nothing new is in the repository. The output below says why.')
    2   = @('Error', 'The tool does not accept how it was called: make this script anew with "lifeboat.py agent-script".')
    3   = @('Warning', 'The backup is there, and something is missing in it. The output below names it.')
    10  = @('Error', 'There is no repository. Lifeboat makes it with its own first backup: do that first.')
    11  = @('Error', 'The repository is locked by someone else. "restic list locks" names the locks; Lifeboat removes stale ones.')
    12  = @('Error', 'The repository password is wrong. Run this script with -StoreCredentials; "lifeboat.py password" shows it.')
    124 = @('Error', 'The backup was stopped at its time limit. What it has stored is used by the next one.')
}

function Assert-Administrator {
    [CmdletBinding()]
    param()
    $identity = [System.Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object -TypeName System.Security.Principal.WindowsPrincipal -ArgumentList $identity
    if (-not $principal.IsInRole([System.Security.Principal.WindowsBuiltInRole]::Administrator)) {
        throw 'Run this as administrator: right click on PowerShell, "Run as administrator".'
    }
    if (-not [Environment]::Is64BitProcess) {
        throw 'This is the 32-bit PowerShell, which makes no shadow copies: start the 64-bit one.'
    }
}

function Protect-AgentFolder {
    # Only SYSTEM and administrators, nothing inherited: Program Files is readable for everybody.
    [CmdletBinding()]
    param()
    if (-not (Test-Path -LiteralPath $AgentFolder)) {
        $null = New-Item -ItemType Directory -Path $AgentFolder
    }
    $administrators = New-Object -TypeName System.Security.Principal.SecurityIdentifier -ArgumentList $AdministratorsSid
    $acl = New-Object -TypeName System.Security.AccessControl.DirectorySecurity
    $acl.SetAccessRuleProtection($true, $false)
    $acl.SetOwner($administrators)
    foreach ($sid in @($SystemSid, $AdministratorsSid)) {
        $who = New-Object -TypeName System.Security.Principal.SecurityIdentifier -ArgumentList $sid
        $rule = New-Object -TypeName System.Security.AccessControl.FileSystemAccessRule -ArgumentList @(
            $who, 'FullControl', 'ContainerInherit, ObjectInherit', 'None', 'Allow'
        )
        $acl.AddAccessRule($rule)
    }
    Set-Acl -LiteralPath $AgentFolder -AclObject $acl
    foreach ($folder in @($CacheFolder, $LogFolder)) {
        if (-not (Test-Path -LiteralPath $folder)) {
            $null = New-Item -ItemType Directory -Path $folder
        }
    }
}

function Assert-OnlyAdministratorsWrite {
    # SYSTEM runs this file: whoever may change it would be SYSTEM.
    [CmdletBinding()]
    param([Parameter(Mandatory = $true)] [string] $Path)
    $writing = [System.Security.AccessControl.FileSystemRights] 'WriteData, AppendData, Delete, DeleteSubdirectoriesAndFiles, ChangePermissions, TakeOwnership'
    $trusted = @($SystemSid, $AdministratorsSid, $TrustedInstallerSid)
    foreach ($place in @($Path, (Split-Path -Path $Path -Parent))) {
        $rules = (Get-Acl -LiteralPath $place).GetAccessRules($true, $true, [System.Security.Principal.SecurityIdentifier])
        foreach ($rule in $rules) {
            $inheritOnly = ([int] $rule.PropagationFlags -band 2) -ne 0
            $writes = ([int] $rule.FileSystemRights -band [int] $writing) -ne 0
            $allows = $rule.AccessControlType -eq [System.Security.AccessControl.AccessControlType]::Allow
            if ($allows -and $writes -and -not $inheritOnly -and
                $trusted -notcontains $rule.IdentityReference.Value) {
                throw "$place can be changed by $($rule.IdentityReference.Value): put it where only administrators write, such as under Program Files."
            }
        }
    }
}

function ConvertTo-CommandLine {
    # As CommandLineToArgvW takes it apart again: backslashes count only before a quotation mark.
    [CmdletBinding()]
    [OutputType([string])]
    param([Parameter(Mandatory = $true)] [AllowEmptyString()] [string[]] $Arguments)
    $quoted = foreach ($argument in $Arguments) {
        '"' + ($argument -replace '(\\*)"', '$1$1\"' -replace '(\\+)$', '$1$1') + '"'
    }
    return ($quoted -join ' ')
}

function Invoke-Tool {
    # The environment is the child's alone: no secret is in this process, on a command line or in a file.
    [CmdletBinding()]
    [OutputType([pscustomobject])]
    param(
        [Parameter(Mandatory = $true)] [string[]] $Arguments,
        [Parameter(Mandatory = $true)] [AllowEmptyCollection()] [System.Collections.IDictionary] $Environment,
        [Parameter(Mandatory = $true)] [int] $LimitSeconds,
        [switch] $KeepIdentityEndpoint
    )
    $leading = @()
    if ($LifeboatPath) { $leading = @($LifeboatPath) }
    $start = New-Object -TypeName System.Diagnostics.ProcessStartInfo
    $start.FileName = $ToolPath
    $start.Arguments = ConvertTo-CommandLine -Arguments ($leading + $Arguments)
    $start.WorkingDirectory = $AgentFolder
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $start.StandardOutputEncoding = [System.Text.Encoding]::UTF8
    $start.StandardErrorEncoding = [System.Text.Encoding]::UTF8
    # What the machine happens to have set would win over what is stored for this task.
    foreach ($name in @($start.EnvironmentVariables.Keys)) {
        $endpoint = $name -match '^(IDENTITY_|IMDS_|MSI_)'
        if ($name -match '^(AZURE_|RESTIC_|LIFEBOAT_|PYTHON)' -or ($endpoint -and -not $KeepIdentityEndpoint)) {
            $start.EnvironmentVariables.Remove($name)
        }
    }
    foreach ($name in $Environment.Keys) {
        $start.EnvironmentVariables[$name] = [string] $Environment[$name]
    }
    $process = [System.Diagnostics.Process]::Start($start)
    try {
        $process.StandardInput.Close()
        $output = $process.StandardOutput.ReadToEndAsync()
        $problems = $process.StandardError.ReadToEndAsync()
        $code = $TimedOut
        if ($process.WaitForExit($LimitSeconds * 1000)) {
            $process.WaitForExit()
            $code = $process.ExitCode
        }
        else {
            $process.Kill()
            $process.WaitForExit()
        }
        return [pscustomobject] @{
            ExitCode = $code
            Output   = $output.Result + [Environment]::NewLine + $problems.Result
        }
    }
    finally {
        $process.Dispose()
    }
}

function Assert-ToolVersion {
    [CmdletBinding()]
    param()
    if (-not $Site.LeastVersion) { return }
    $answer = Invoke-Tool -Arguments @('version') -Environment @{} -LimitSeconds 60
    if ($answer.Output -notmatch 'restic (\d+\.\d+\.\d+)') {
        throw "$ToolPath does not say that it is restic: $($answer.Output.Trim())"
    }
    if ([version] $Matches[1] -lt [version] $Site.LeastVersion) {
        throw "$ToolPath is restic $($Matches[1]). $($Site.LeastVersion) or later is needed: older ones ask for the right to overwrite in the vault."
    }
}

function Read-Answer {
    # The text of what was typed; a secret is not shown.
    [CmdletBinding()]
    [OutputType([string])]
    param(
        [Parameter(Mandatory = $true)] [string] $Prompt,
        [Parameter(Mandatory = $true)] [bool] $Secret
    )
    if (-not $Secret) {
        $typed = (Read-Host -Prompt $Prompt).Trim()
    }
    else {
        $secure = Read-Host -Prompt $Prompt -AsSecureString
        $pointer = [System.Runtime.InteropServices.Marshal]::SecureStringToBSTR($secure)
        try {
            $typed = [System.Runtime.InteropServices.Marshal]::PtrToStringBSTR($pointer)
        }
        finally {
            [System.Runtime.InteropServices.Marshal]::ZeroFreeBSTR($pointer)
            $secure.Dispose()
        }
    }
    if (-not $typed) { throw "Nothing was typed for: $Prompt. Nothing was stored." }
    return $typed
}

function Save-Credential {
    # Encrypted for this machine (DPAPI), in a folder that only administrators and SYSTEM may look into. In place of
    # what is there only when it is whole.
    [CmdletBinding()]
    param()
    if (-not $Site.CredentialKinds.Contains($CredentialKind)) {
        throw "$CredentialKind is not for this tool. Choose -CredentialKind from: $(@($Site.CredentialKinds.Keys) -join ', ')."
    }
    $values = [ordered] @{}
    foreach ($asked in @($Site.CredentialKinds[$CredentialKind]) + @($Site.Asked)) {
        $values[$asked.Name] = Read-Answer -Prompt $asked.Prompt -Secret $asked.Secret
    }
    $stored = [ordered] @{ Kind = $CredentialKind; Values = $values } | ConvertTo-Json -Compress
    $plain = [System.Text.Encoding]::UTF8.GetBytes($stored)
    try {
        $scope = [System.Security.Cryptography.DataProtectionScope]::LocalMachine
        $sealed = [System.Security.Cryptography.ProtectedData]::Protect($plain, $null, $scope)
    }
    finally {
        [Array]::Clear($plain, 0, $plain.Length)
    }
    [System.IO.File]::WriteAllBytes("$CredentialFile.new", $sealed)
    Move-Item -LiteralPath "$CredentialFile.new" -Destination $CredentialFile -Force
    Write-Information -MessageData "The credentials are stored in $CredentialFile." -InformationAction Continue
}

function Get-StoredCredential {
    # Kind and values, as they were stored.
    [CmdletBinding()]
    [OutputType([pscustomobject])]
    param()
    if (-not (Test-Path -LiteralPath $CredentialFile)) {
        throw "There is no $CredentialFile. Run this script with -StoreCredentials, as administrator."
    }
    $scope = [System.Security.Cryptography.DataProtectionScope]::LocalMachine
    $sealed = [System.IO.File]::ReadAllBytes($CredentialFile)
    try {
        $plain = [System.Security.Cryptography.ProtectedData]::Unprotect($sealed, $null, $scope)
    }
    catch [System.Security.Cryptography.CryptographicException] {
        throw "$CredentialFile cannot be opened: it was made on another machine, or is damaged. Run this script with -StoreCredentials."
    }
    return ([System.Text.Encoding]::UTF8.GetString($plain) | ConvertFrom-Json)
}

function Get-Environment {
    # What the tool is given: the site's names, and what was stored.
    [CmdletBinding()]
    [OutputType([hashtable])]
    param([Parameter(Mandatory = $true)] [pscustomobject] $Credentials)
    $environment = @{ RESTIC_CACHE_DIR = $CacheFolder; PYTHONUTF8 = '1' }
    foreach ($name in $Site.Environment.Keys) { $environment[$name] = $Site.Environment[$name] }
    foreach ($each in $Credentials.Values.PSObject.Properties) { $environment[$each.Name] = $each.Value }
    return $environment
}

function Invoke-ToolWithCredential {
    [CmdletBinding()]
    [OutputType([pscustomobject])]
    param(
        [Parameter(Mandatory = $true)] [string[]] $Arguments,
        [Parameter(Mandatory = $true)] [int] $LimitSeconds
    )
    $credentials = Get-StoredCredential
    $environment = Get-Environment -Credentials $credentials
    $keep = $credentials.Kind -eq 'ManagedIdentity'
    return (Invoke-Tool -Arguments $Arguments -Environment $environment -LimitSeconds $LimitSeconds -KeepIdentityEndpoint:$keep)
}

function Write-Outcome {
    # One event for each run. A log that takes no event is no reason to fail what was backed up.
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)] [int] $ExitCode,
        [Parameter(Mandatory = $true)] [string] $Kind,
        [Parameter(Mandatory = $true)] [string] $Text
    )
    $short = $Text
    if ($short.Length -gt $EventTextLimit) { $short = '...' + $short.Substring($short.Length - $EventTextLimit) }
    try {
        Write-EventLog -LogName 'Application' -Source $EventSource -EventId (1000 + $ExitCode) -EntryType $Kind -Message $short
    }
    catch {
        Write-Warning -Message "The event could not be written: $($_.Exception.Message)"
    }
}

function Write-Log {
    # A log file that cannot be written is no reason to fail either.
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)] [string] $Path,
        [Parameter(Mandatory = $true)] [AllowEmptyString()] [string] $Text
    )
    try {
        Add-Content -LiteralPath $Path -Encoding UTF8 -Value $Text
    }
    catch {
        Write-Warning -Message "The log could not be written: $($_.Exception.Message)"
    }
}

function Clear-OldLog {
    [CmdletBinding()]
    param()
    Get-ChildItem -LiteralPath $LogFolder -Filter 'run-*.log' |
        Sort-Object -Property Name -Descending |
        Select-Object -Skip $LogsKept |
        Remove-Item -Force -ErrorAction SilentlyContinue
}

function Test-ShadowCopyMissing {
    # restic goes on with the live files when it cannot make a shadow copy, and its exit code does not say so.
    [CmdletBinding()]
    [OutputType([bool])]
    param([Parameter(Mandatory = $true)] [AllowEmptyString()] [string] $Output)
    return ([bool] $Site.ShadowCopyText -and -not $Output.Contains($Site.ShadowCopyText))
}

function Invoke-Backup {
    # The exit code. What goes wrong before the tool runs is 1, with its own text.
    [CmdletBinding()]
    [OutputType([int])]
    param()
    $began = [DateTime]::UtcNow
    $ends = $began.AddMinutes($Site.LimitMinutes)
    $log = Join-Path -Path $LogFolder -ChildPath ('run-{0:yyyyMMddTHHmmssZ}.log' -f $began)
    $code = 1
    $said = ''
    try {
        Assert-ToolVersion
        for ($attempt = 1; $attempt -le $Attempts; $attempt++) {
            $left = [int] [Math]::Max(1, ($ends - [DateTime]::UtcNow).TotalSeconds)
            $answer = Invoke-ToolWithCredential -Arguments $Site.BackupArguments -LimitSeconds $left
            $code = $answer.ExitCode
            $said = $answer.Output
            Write-Log -Path $log -Text "attempt ${attempt}: exit code $code"
            Write-Log -Path $log -Text $said
            $again = @(1, 11) -contains $code -and $attempt -lt $Attempts
            if (-not $again -or [DateTime]::UtcNow.AddSeconds($SecondsBetweenAttempts) -gt $ends) { break }
            Start-Sleep -Seconds $SecondsBetweenAttempts
        }
    }
    catch {
        $code = 1
        $said = $_.Exception.Message
        Write-Log -Path $log -Text $said
    }
    $outcome = @('Error', "The tool ended with exit code $code, which is not known.")
    if ($Outcomes.ContainsKey($code)) { $outcome = $Outcomes[$code] }
    if ($code -eq 0 -and (Test-ShadowCopyMissing -Output $said)) {
        $code = 3
        $outcome = @('Warning', 'The backup is there, but it was made without a shadow copy: files that were open may be missing or torn. "vssadmin list writers" and "vssadmin list shadowstorage" tell more.')
    }
    $minutes = [int] ([DateTime]::UtcNow - $began).TotalMinutes
    $text = "$($outcome[1])", "Exit code $code after $minutes minutes. Log: $log", $said -join [Environment]::NewLine
    Write-Outcome -ExitCode $code -Kind $outcome[0] -Text $text
    Clear-OldLog
    return $code
}

function Register-Agent {
    [CmdletBinding()]
    param()
    $powershell = Join-Path -Path $env:SystemRoot -ChildPath 'System32\WindowsPowerShell\v1.0\powershell.exe'
    $arguments = @('-NoProfile', '-NonInteractive', '-ExecutionPolicy', 'RemoteSigned', '-File', $ScriptFile, '-Run', '-ToolPath', $ToolPath)
    if ($LifeboatPath) { $arguments += @('-LifeboatPath', $LifeboatPath) }
    $action = New-ScheduledTaskAction -Execute $powershell -Argument (ConvertTo-CommandLine -Arguments $arguments) -WorkingDirectory $AgentFolder
    $triggers = foreach ($time in $Site.StartTimes) {
        $trigger = New-ScheduledTaskTrigger -Daily -At $time
        # With a Z it is UTC, summer and winter, as Lifeboat's own schedules are.
        $trigger.StartBoundary = '{0:yyyy-MM-dd}T{1}:00Z' -f [DateTime]::UtcNow, $time
        $trigger
    }
    $principal = New-ScheduledTaskPrincipal -UserId $SystemSid -LogonType ServiceAccount -RunLevel Highest
    # The script ends the tool at its limit by itself; the task's is for a script that hangs.
    $limit = New-TimeSpan -Minutes ($Site.LimitMinutes + 15)
    $settings = New-ScheduledTaskSettingsSet -MultipleInstances IgnoreNew -ExecutionTimeLimit $limit -StartWhenAvailable -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries
    $description = 'Backs the share up into the vault of Lifeboat. Made by lifeboat.py agent-script.'
    $null = Register-ScheduledTask -TaskName $TaskName -TaskPath $TaskFolder -Action $action -Trigger $triggers -Principal $principal -Settings $settings -Description $description -Force
}

function Install-Agent {
    [CmdletBinding()]
    param()
    if ($Site.SharePath -and -not (Test-Path -LiteralPath $Site.SharePath -PathType Container)) {
        throw "There is no folder $($Site.SharePath) on this machine: make this script anew with the share's local path (--path)."
    }
    if (-not (Test-Path -LiteralPath $ToolPath -PathType Leaf)) { throw "There is no $ToolPath." }
    Protect-AgentFolder
    if ($PSCommandPath -ne $ScriptFile) {
        Copy-Item -LiteralPath $PSCommandPath -Destination $ScriptFile -Force
        Unblock-File -LiteralPath $ScriptFile
    }
    if ($Site.Tool -eq 'restic') {
        $installed = Join-Path -Path $AgentFolder -ChildPath 'restic.exe'
        if ((Resolve-Path -LiteralPath $ToolPath).ProviderPath -ne $installed) {
            Copy-Item -LiteralPath $ToolPath -Destination $installed -Force
            Unblock-File -LiteralPath $installed
        }
        $script:ToolPath = $installed
        $hash = (Get-FileHash -LiteralPath $installed -Algorithm SHA256).Hash
        Write-Information -MessageData "SHA-256 of restic.exe: $hash" -InformationAction Continue
    }
    else {
        if (-not (Test-Path -LiteralPath $LifeboatPath -PathType Leaf)) { throw 'Say where lifeboat.py is: -LifeboatPath.' }
        $script:ToolPath = (Resolve-Path -LiteralPath $ToolPath).ProviderPath
        $script:LifeboatPath = (Resolve-Path -LiteralPath $LifeboatPath).ProviderPath
        Assert-OnlyAdministratorsWrite -Path $ToolPath
        Assert-OnlyAdministratorsWrite -Path $LifeboatPath
    }
    Assert-ToolVersion
    if (-not [System.Diagnostics.EventLog]::SourceExists($EventSource)) {
        New-EventLog -LogName 'Application' -Source $EventSource
    }
    if (-not (Test-Path -LiteralPath $CredentialFile)) { Save-Credential }
    if (-not $SkipProbe) {
        $probe = Invoke-ToolWithCredential -Arguments $Site.ProbeArguments -LimitSeconds $ProbeSeconds
        if ($probe.ExitCode -ne 0) {
            $known = 'The tool ended with an exit code that is not known.'
            if ($Outcomes.ContainsKey($probe.ExitCode)) { $known = $Outcomes[$probe.ExitCode][1] }
            throw "The repository could not be opened (exit code $($probe.ExitCode)); no task was registered. $known $($probe.Output.Trim())"
        }
    }
    Register-Agent
    Write-Information -InformationAction Continue -MessageData @"
The task '$TaskFolder$TaskName' is registered. It begins at (UTC): $($Site.StartTimes -join ', ').
Now:       Start-ScheduledTask -TaskPath '$TaskFolder' -TaskName '$TaskName'
Watch it:  Get-ScheduledTaskInfo -TaskPath '$TaskFolder' -TaskName '$TaskName'
           Get-EventLog -LogName Application -Source '$EventSource' -Newest 5
"@
}

function Uninstall-Agent {
    [CmdletBinding()]
    param()
    Get-ScheduledTask -TaskPath $TaskFolder -TaskName $TaskName -ErrorAction SilentlyContinue |
        Unregister-ScheduledTask -Confirm:$false
    if (Test-Path -LiteralPath $AgentFolder) { Remove-Item -LiteralPath $AgentFolder -Recurse -Force }
    Write-Information -MessageData 'The task, the credentials and the logs are gone. What was backed up stays.' -InformationAction Continue
}

Assert-Administrator
Add-Type -AssemblyName System.Security
switch ($PSCmdlet.ParameterSetName) {
    'Install' { Install-Agent }
    'StoreCredentials' {
        Protect-AgentFolder
        Save-Credential
    }
    'Uninstall' { Uninstall-Agent }
    'Run' { exit (Invoke-Backup) }
}
