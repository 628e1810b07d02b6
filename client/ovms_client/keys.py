"""API keys: the header that brings one."""

Header = tuple[tuple[str, str], ...]


def bearer(api_key: str | None) -> Header:
    """The header with a key, none without one; ValueError, which does not show it, if no header can carry it."""
    if api_key is None:
        return ()
    if not api_key or not all("!" <= character <= "~" for character in api_key):
        raise ValueError("api_key: expected visible characters of ASCII")
    return (("authorization", f"Bearer {api_key}"),)
