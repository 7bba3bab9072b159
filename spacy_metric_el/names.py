"""How a name is written before it is compared: shared by every room."""

import unicodedata


def normalise_name(name: str) -> str:
    """Bring two spellings of one name to the same string.

    Compatibility forms are folded (NFKC), case is folded, and runs of white
    space become one space.

    name (str): A name or the text of a mention.
    RETURNS (str): The key under which aliases are stored and looked up.
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
