"""The words of a text. Knows nothing of the host, so that plain Python can test it."""

# Longest word; what is longer is passed over.
WORD_BYTES_MAX = 64


def words_of(text: str) -> list[str]:
    """The words between white space (that of ASCII), in lower case."""
    for space in "\t\n\f\r":
        text = text.replace(space, " ")
    words = [word.lower() for word in text.split(" ") if word]
    return [word for word in words if len(word.encode()) <= WORD_BYTES_MAX]
