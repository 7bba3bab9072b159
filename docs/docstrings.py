"""Makes lists of the parameters in docstrings of spaCy's style, `name (type): text`."""

import re
from typing import Any

import griffe

ENTRY = re.compile(r"^([\w*]+(?:, [\w*]+)*) \((.*?)\): ")
SECTION = re.compile(r"^(RETURNS|YIELDS|RAISES)(?: \((.*?)\))?: ")


class SpacyDocstrings(griffe.Extension):
    """Rewrites docstrings in Markdown as they are read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None and not obj.is_alias:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """RETURNS (str): The docstring with a list in place of lines that name a parameter."""
    # What is returned may stand in the line of another sentence.
    text = re.sub(r"(?<=\S) (?=(?:RETURNS|YIELDS|RAISES)(?: \(|: ))", "\n\n", text)
    lines, in_list = [], False
    for line in text.splitlines():
        entry = SECTION.match(line) or ENTRY.match(line)
        if entry:
            if not in_list:
                lines.append("")
            name, kind = entry.groups()
            name = name.capitalize() if name.isupper() else f"`{name}`"
            kind = f" (`{kind}`)" if kind else ""
            lines.append(f"- **{name}**{kind}: {line[entry.end() :]}")
            in_list = True
        else:
            in_list = in_list and (not line or line.startswith(" "))
            lines.append(line)
    return "\n".join(lines)
