"""A breach of the contract as a pytest file that shows it again."""

from __future__ import annotations

import re
from typing import Final

from omega_ai.testkit.contract.talk import Wrong

_FILE: Final = '''\
"""{title}

Found in {case} by `{command}`.
Run: pytest {name} --ws-url {url}{profile}
"""

import json

from omega_ai.testkit.contract.document import load_contract

CONTRACT = {source!r}


def test_{function}(ws):
    contract = load_contract(CONTRACT)
    client = ws.connect("client")
{body}'''


def pytest_file(
    wrong: Wrong, *, case: str, source: str, url: str, profile: str | None, command: str
) -> tuple[str, str]:
    """The name of the file, and its text."""
    function = re.sub(r"\W+", "_", case.partition(".")[2]) + "_" + re.sub(r"\W+", "_", wrong.kind)
    name = f"test_contract_{function}.py"
    lines = [f"client.send({step.text!r})" for step in wrong.steps]
    last = wrong.steps[-1] if wrong.steps else None
    if wrong.kind == "accepted":
        lines += [
            "answer = json.loads(client.receive() or 'null')",
            'assert contract.is_error(answer), f"taken without an error: {answer}"',
        ]
    elif wrong.kind == "relayed":
        lines.insert(0, 'bystander = ws.connect("bystander", listen=True)')
        lines += ["client.ping()", "overheard = bystander.receive(within=1.0)"]
        assert last is not None  # noqa: S101 - something was relayed
        lines.append(f"assert overheard is None or json.loads(overheard) != json.loads({last.text!r})")
    elif wrong.kind in ("ended", "hangs"):
        lines.append('assert client.ping() is not None, f"the connection: {client.ended}"')
    else:
        lines += [
            "client.ping()",
            "ws.settle()",
            "seen = [json.loads(item.data) for item in client.messages]",
            "assert seen",
            "for message in seen:",
            "    assert contract.sent(message) is not None, contract.breach(message)",
        ]
    body = "".join(f"    {line}\n" for line in lines)
    title = str(wrong).replace("\\", "\\\\").replace('"""', "'''")
    return name, _FILE.format(
        title=_wrapped(title),
        case=case,
        command=command,
        name=name,
        url=url,
        profile="" if profile is None else f" --ws-profile {profile}",
        source=source,
        function=function,
        body=body,
    )


def _wrapped(text: str) -> str:
    """In one line that is not too long."""
    line = " ".join(text.split())
    return line[0].upper() + (line[1:96] + "…" if len(line) > 97 else line[1:] + ".")
