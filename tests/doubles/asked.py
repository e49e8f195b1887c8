"""The command line and a server, asked as a user would."""

import json
import subprocess
import sys
import urllib.error
import urllib.request


def headrace(*arguments):
    """Run a command that must succeed; what it printed."""
    command = [sys.executable, "-m", "headrace", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def posted(url, body):
    """Send JSON; the JSON that comes back."""
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as reply:
        return json.load(reply)


def ready(url):
    """Whether what is there says that it is ready, in the Open Inference Protocol's way."""
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=10) as reply:
            return reply.status == 200
    except urllib.error.HTTPError:
        return False
