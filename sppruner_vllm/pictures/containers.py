"""What a video comes in, by what it begins with: containers of frames alone are opened.

FFmpeg, which reads them for vLLM, knows hundreds of formats. Some of them are lists of further files, URLs and streams
(HLS, DASH, concat, SDP), which it would open itself, past every rule about what is fetched.
"""

from __future__ import annotations

import re
from typing import Final

from .head import unusable

_BEGINNINGS: Final[dict[str, re.Pattern[bytes]]] = {
    "ASF": re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    "AVI": re.compile(rb"RIFF....AVI ", re.DOTALL),
    "FLV": re.compile(rb"FLV\x01"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "H.264 or H.265": re.compile(rb"\0{1,3}\x01[^\xb0-\xff]"),
    "IVF": re.compile(rb"DKIF"),
    "Matroska or WebM": re.compile(rb"\x1a\x45\xdf\xa3"),
    "MP4 or QuickTime": re.compile(rb"....(?:ftyp|moov|mdat|wide|free|skip|pnot)", re.DOTALL),
    "MPEG": re.compile(rb"\0\0\x01[\xb0\xb3\xba]"),
    "MPEG-TS": re.compile(rb"(?:....)?\x47.{187}(?:....)?\x47", re.DOTALL),
    "Ogg": re.compile(rb"OggS"),
}

_WORDS: Final = (
    (b"#EXTM3U", "a playlist"),
    (b"ffconcat", "a playlist"),
    (b"<", "XML or HTML"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"RIFF", "no video"),
)


def refuse_others(content: bytes) -> None:
    """Refuse what is in no container of frames.

    Raises:
        UnusablePicture: says what is taken.
    """
    if any(beginning.match(content) for beginning in _BEGINNINGS.values()):
        return
    found = next((what for start, what in _WORDS if content.lstrip().startswith(start)), "no video that is known")
    raise unusable(f"the data is {found}; videos are taken as {', '.join(_BEGINNINGS)}")
