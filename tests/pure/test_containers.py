"""What a video may come in."""

from __future__ import annotations

import pytest

from sppruner_vllm.errors import UnusablePicture
from sppruner_vllm.pictures.containers import refuse_others

TS = (b"\x47" + bytes(187)) * 2


@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\0\x20ftypisom",
        b"\0\0\0\x08wide\0\0\0\0mdat",
        b"\x1a\x45\xdf\xa3\x01",
        b"RIFF\x0a\x0b\x0a\x0dAVI LIST",
        b"FLV\x01\x05",
        b"GIF89a",
        b"OggS\0",
        b"DKIF\0\0",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6",
        b"\0\0\x01\xba\x44",
        b"\0\0\x01\xb3\x14",
        b"\0\0\0\x01\x67\x42",
        TS,
        b"abcd" + TS.replace(b"\x47" + bytes(187), b"\x47" + bytes(187) + b"abcd"),
    ],
)
def test_a_container_of_frames_is_opened(content: bytes) -> None:
    refuse_others(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"#EXTM3U\n#EXTINF:1,\nhttp://10.0.0.1/a.ts\n", "a playlist"),
        (b"\n#EXTM3U\n", "a playlist"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "a playlist"),
        (b"<?xml version='1.0'?><MPD/>", "XML"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", "no video that is known"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"\xff\xd8\xff\xe0", "a picture"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "no video"),
        (b"RIFF\0\0\0\0WAVEfmt ", "no video"),
        (b"", "no video that is known"),
        (b"MZ", "no video that is known"),
        (b"ftyp", "no video that is known"),
    ],
)
def test_what_may_lead_elsewhere_or_is_no_video_is_not(content: bytes, words: str) -> None:
    with pytest.raises(UnusablePicture, match=words) as refusal:
        refuse_others(content)
    assert "MP4 or QuickTime" in str(refusal.value)
