"""Changes to a good input: pieces that are cut, doubled, swapped, or replaced by hostile ones."""

from hypothesis import strategies as st

HOSTILE = (
    b"",
    b"\0",
    b"\n",
    b"\r",
    b"\r\n",
    b"\r\n\r\n",
    b"\x1b[2J",
    b"\xff",
    b"\xe2\x80\xae",
    b"\\ud800",
    b"\\u0000",
    b"-1",
    b"9" * 30,
    b"1e999",
    b"NaN",
    b"null",
    b"[" * 200,
    b"<!DOCTYPE x [<!ENTITY a 'b'>]>",
    b"Content-Length: 4\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b" chunked",
    b";a=b",
    b"0\r\n\r\n",
    b"99999999",
    b"\xef\xbb\xbf",
    b"\x1f\x8b\x08\0",
    b"PK\x03\x04",
    b":61:",
    b"?20",
    b"16,",
)


def mutants(seeds):
    """Any bytes, or one of `seeds` after up to six changes."""

    @st.composite
    def changed(draw):
        data = draw(st.sampled_from(seeds))
        for _ in range(draw(st.integers(1, 6))):
            begin = draw(st.integers(0, len(data)))
            end = min(len(data), begin + draw(st.sampled_from([0, 0, 1, 2, 8, 40])))
            piece = draw(
                st.sampled_from([*HOSTILE, data[begin:end] * 2, data[:40]]) | st.binary(max_size=6)
            )
            data = data[:begin] + piece + data[end:]
        return data

    return st.binary(max_size=200) | changed()
