"""The other formats, written byte by byte or losslessly by Pillow."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from corpus.case import HEIGHT, WIDTH, Case, grey, invalid, noise, over_white, right, saved, smooth, too_large, turned
from corpus.jpegs import decoded


def gifs() -> Iterator[Case]:
    """GIF, of which the first frame is the picture."""
    places = smooth().quantize(16)
    truth = np.asarray(places.convert("RGB"))
    moving = saved(places, "GIF", save_all=True, append_images=[places.rotate(180)], loop=0)
    yield right("gif animation", moving, truth)
    yield right("gif interlaced", saved(places, "GIF", interlace=1), truth)
    hidden = np.asarray(places)[..., None] == 3
    yield right("gif transparent", saved(places, "GIF", transparency=3), np.where(hidden, 255, truth))
    plain = saved(places, "GIF")
    at = plain.index(b",", 13 + 3 * 16)
    canvas = plain[:6] + struct.pack("<HH", 112, 84) + plain[10 : at + 1] + struct.pack("<HH", 5, 7) + plain[at + 5 :]
    seen = np.full((84, 112, 3), 255)
    seen[7 : 7 + HEIGHT, 5 : 5 + WIDTH] = truth
    yield right("gif frame smaller than its canvas", canvas, seen)
    table = 13 + 3 * 16
    bare = plain[:10] + bytes([plain[10] & 0x7F]) + plain[11:13] + plain[table:]
    yield invalid("gif without a palette", bare, from_head=True)
    yield invalid("gif cut", plain[: len(plain) // 2], from_head=True)
    yield invalid("gif cut in its second frame", moving[:-200], from_head=True)
    yield invalid("gif without its end", plain[:-1], from_head=True)
    yield invalid("gif no frame", plain[: 13 + 3 * 16] + b";", from_head=True)
    short = plain[:at] + plain[at : at + 10] + b"\4\2\x10\xff\0;"
    yield invalid("gif pixels missing", short)
    yield too_large("gif 60000 x 60000", plain[:6] + struct.pack("<HH", 60_000, 60_000) + plain[10:])
    yield too_large("gif of blocks of one byte", plain[:at] + b"\x21\xfe" + b"\1a" * 600_000 + b"\0" + plain[at:])
    frame = plain[at : plain.rindex(b";")]
    tiny = frame[:1] + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    yield too_large("gif 5000 frames", plain[:at] + tiny * 5000 + b";")


def webps() -> Iterator[Case]:
    """WebP."""
    picture = smooth()
    lossy, lossless = saved(picture, "WEBP"), saved(picture, "WEBP", lossless=True)
    yield right("webp", lossy, decoded(lossy), 2)
    yield right("webp lossless", lossless, np.asarray(picture))
    clear, alpha = noise(HEIGHT, WIDTH, 3), noise(HEIGHT, WIDTH, seed=3)
    image = Image.fromarray(np.dstack([clear, alpha]).astype("u1"))
    content = saved(image, "WEBP", lossless=True, exact=True)
    yield right("webp alpha", content, over_white(clear, alpha / 255), 1)
    moving = saved(picture, "WEBP", save_all=True, append_images=[smooth(1)], lossless=True)
    yield right("webp animation", moving, np.asarray(picture))
    canvas, frame = moving.index(b"VP8X") + 12, moving.index(b"ANMF") + 8
    wide, high, left, top = ((value).to_bytes(3, "little") for value in (200 - 1, 100 - 1, 10 // 2, 8 // 2))
    placed = moving[:canvas] + wide + high + moving[canvas + 6 : frame] + left + top + moving[frame + 6 :]
    seen = np.full((100, 200, 3), 255)
    seen[8 : 8 + HEIGHT, 10 : 10 + WIDTH] = np.asarray(picture)
    yield right("webp frame smaller than its canvas", placed, seen)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(picture, "WEBP", lossless=True, exif=exif)
    yield right("webp exif 6", content, turned(np.asarray(picture), 6))
    yield invalid("webp cut", lossy[: len(lossy) // 2], from_head=True)
    body = lossless[12 : len(lossless) // 2]
    length = struct.pack("<I", len(body) - 8)
    patched = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body[:4] + length + body[8:]
    yield invalid("webp cut under right lengths", patched)
    many = lossy[12:] + b"abcd\0\0\0\0" * 110_000
    yield too_large("webp many chunks", b"RIFF" + struct.pack("<I", 4 + len(many)) + b"WEBP" + many)
    grown = moving.replace(moving[20:30], moving[20:24] + b"\xff\xff\xff\xff\xff\xff", 1)
    yield too_large("webp canvas of 16 million x 16 million", grown)


def avifs() -> Iterator[Case]:
    """AVIF, as OpenCV's decoder has it where it knows the format."""
    content = saved(smooth(), "AVIF", quality=95)
    yield right("avif", content, cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], 3)
    yield too_large("avif many boxes", content + b"\0\0\0\x08free" * 20_000)
    yield invalid("avif cut", content[:-20], from_head=True)
    yield too_large("avif 60000 x 60000", _declared(content, 60_000))
    yield invalid("avif of another size than it declares", _declared(content, 200), from_head=True)
    at = content.index(b"nclx") + 6
    whole = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    yield right("avif whole aperture", _with_aperture(content, *smooth().size), whole, 3)
    yield invalid("avif aperture", _with_aperture(content, smooth().width // 2, smooth().height), from_head=True)
    yield invalid("avif high dynamic range", content[:at] + b"\0\x10" + content[at + 2 :], from_head=True)


def _with_aperture(content: bytes, width: int, height: int) -> bytes:
    """An AVIF of which so much is to be seen: one property more, and what stands behind it told so."""
    box = struct.pack(">I4s8I", 40, b"clap", width, 1, height, 1, 0, 1, 0, 1)
    changed = bytearray(content)
    for name in (b"meta", b"iprp", b"ipco"):
        at = content.index(name) - 4
        changed[at : at + 4] = struct.pack(">I", int.from_bytes(content[at : at + 4]) + len(box))
    places = content.index(b"iloc") + 4
    for item in range(int.from_bytes(content[places + 6 : places + 8])):
        at = places + 8 + 14 * item + 6
        changed[at : at + 4] = struct.pack(">I", int.from_bytes(content[at : at + 4]) + len(box))
    start = content.index(b"ipco") - 4
    end = start + int.from_bytes(content[start : start + 4])
    return bytes(changed[:end]) + box + bytes(changed[end:])


def _declared(content: bytes, side: int) -> bytes:
    """An AVIF that says it is so large."""
    at = content.index(b"ispe") + 8
    return content[:at] + struct.pack(">II", side, side) + content[at + 8 :]


def plain() -> Iterator[Case]:
    """Formats with little between head and pixels."""
    picture = smooth()
    truth = np.asarray(picture)
    bitmap = saved(picture, "BMP")
    yield right("bmp", bitmap, truth)
    yield right("bmp palette", saved(picture.quantize(16), "BMP"), np.asarray(picture.quantize(16).convert("RGB")))
    yield invalid("bmp cut", bitmap[:-10])
    yield from bitmaps()
    yield too_large("bmp 60000 x 60000", bitmap[:18] + struct.pack("<ii", 60_000, 60_000) + bitmap[26:])
    size = f"{WIDTH} {HEIGHT}".encode()
    deep, few = noise(HEIGHT, WIDTH, top=65536), noise(HEIGHT, WIDTH, top=1001)
    yield right("pgm 16", b"P5 " + size + b" 65535\n" + deep.astype(">u2").tobytes(), grey(np.rint(deep / 257)))
    odd = b"P5 " + size + b" 1000\n" + few.astype(">u2").tobytes()
    yield right("pgm of 1000", odd, grey(np.rint(few / 1000 * 255)), 1)
    yield right("ppm", b"P6 " + size + b" 255\n" + truth.tobytes(), truth)
    yield right("ppm plain", b"P3 " + size + b" 255\n" + " ".join(map(str, truth.ravel())).encode(), truth)
    said = b"P6\n#" + b"a" * 100_000 + b"\n"
    yield invalid("ppm long comment", said + size + b" 255\n" + truth.tobytes(), from_head=True)
    yield right("ppm comment", b"P6\n# by hand\n" + size + b"\n255\n" + truth.tobytes(), truth)
    yield invalid("ppm cut", b"P6 " + size + b" 255\n" + truth.tobytes()[:-1])
    yield too_large("ppm 60000 x 60000", b"P6 60000 60000 255\n" + bytes(100))
    floats = np.random.default_rng(0).random((HEIGHT, WIDTH), dtype=np.float32)
    pfm = b"Pf\n" + size + b"\n-1.0\n" + floats[::-1].astype("<f4").tobytes()
    yield right("pfm", pfm, grey(np.floor(floats * 255 + 0.5)))
    scaled = pfm.replace(b"-1.0", b"-2.0")
    yield invalid("pfm on a scale of its own", scaled, from_head=True)
    yield invalid("pgm beyond its highest level", b"P5 " + size + b" 15\n" + bytes(truth[..., 0]), from_head=True)
    yield right("pgm of 15", b"P5 " + size + b" 15\n" + bytes(truth[..., 0] // 16), grey(truth[..., 0] // 16 * 17))
    yield right("qoi", saved(picture, "QOI"), truth)
    yield right("jpeg 2000", saved(picture, "JPEG2000"), truth)
    far = saved(picture, "JPEG2000")
    far = far[:12] + b"\0\0\0\x08free" * 200_000 + far[12:]
    yield invalid("jpeg 2000 behind many boxes", far, from_head=True)
    yield invalid("jpeg 2000 cut", saved(picture, "JPEG2000")[:-500])
    tiled = saved(picture, "JPEG2000", tile_size=(32, 32), no_jp2=True)
    yield right("jpeg 2000 tiles", tiled, truth)
    last = tiled[: tiled.rindex(b"\xff\x90\0\x0a")] + b"\xff\xd9"
    yield invalid("jpeg 2000 without its last tile", last, from_head=True)
    sides = struct.pack(">II", 1, 1)
    yield too_large("jpeg 2000 of 4704 tiles", tiled[:24] + sides + tiled[32:])
    signed = saved(picture, "JPEG2000", signed=True)
    yield invalid("jpeg 2000 signed", signed, from_head=True)
    yield right("tga", saved(picture, "TGA"), truth)
    seen_through = saved(picture.convert("RGBA"), "TGA")
    yield right("tga with transparency", seen_through, truth)
    yield invalid("tga with a fourth byte for nothing", seen_through[:17] + b"\0" + seen_through[18:], from_head=True)
    icon = smooth(size=(56, 56))
    for kind in ("png", "bmp"):
        content = saved(icon.convert("RGBA"), "ICO", sizes=[(56, 56)], bitmap_format=kind)
        yield right(f"ico of {kind}", content, np.asarray(icon))
        yield invalid(f"ico of {kind} cut", content[: len(content) // 2], from_head=True)
    clear = saved(Image.new("RGBA", icon.size), "ICO", sizes=[(56, 56)], bitmap_format="bmp")
    yield invalid("ico whose transparency is not known", clear, from_head=True)
    content = saved(icon, "ICO", sizes=[(56, 56)])
    at = content.index(b"IHDR") + 4
    content = content[:at] + struct.pack(">II", 13_000, 13_000) + content[at + 8 :]
    yield too_large("ico of a png of 13000 x 13000", content)


def bitmaps() -> Iterator[Case]:
    """BMP in the layouts that Pillow does not write."""
    colours, places, table = noise(HEIGHT, WIDTH, 3), noise(HEIGHT, WIDTH, top=16), noise(16, 3, seed=1)
    palette = b"".join(bytes([blue, green, red, 0]) for red, green, blue in table.tolist())
    stored = colours[..., ::-1].astype("u1")
    yield right("bmp top down", _bitmap(-HEIGHT, 24, 0, stored.tobytes()), colours)
    spare = np.dstack([stored, np.zeros((HEIGHT, WIDTH), "u1")])[::-1]
    yield right("bmp 32 bits without alpha", _bitmap(HEIGHT, 32, 0, spare.tobytes()), colours)
    red, green, blue = (colours[..., channel] >> shift for channel, shift in enumerate((3, 2, 3)))
    packed = (red << 11 | green << 5 | blue).astype("<u2")[::-1].tobytes()
    seen = np.dstack([np.rint(red * 255 / 31), np.rint(green * 255 / 63), np.rint(blue * 255 / 31)])
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    yield right("bmp 5, 6 and 5 bits", _bitmap(HEIGHT, 16, 3, packed, masks), seen, 1)
    runs = b"".join(b"".join(bytes([1, place]) for place in row) + b"\0\0" for row in places[::-1].tolist()) + b"\0\1"
    yield right("bmp runs", _bitmap(HEIGHT, 8, 1, runs, palette), table[places])
    rows = [bytes([0, WIDTH]) + row.astype("u1").tobytes() + b"\0" * (WIDTH % 2) + b"\0\0" for row in places[::-1]]
    yield right("bmp without runs, packed", _bitmap(HEIGHT, 8, 1, b"".join(rows) + b"\0\1", palette), table[places])
    pairs = [b"".join(bytes([2, a << 4 | b]) for a, b in row.reshape(-1, 2).tolist()) for row in places[::-1]]
    packed = b"\0\0".join(pairs) + b"\0\1"
    yield right("bmp runs of 4 bits", _bitmap(HEIGHT, 4, 2, packed, palette), table[places])
    yield invalid("bmp runs that jump", _bitmap(HEIGHT, 8, 1, b"\0\2\5\5" + runs, palette), from_head=True)
    short = runs.replace(runs[: 2 * WIDTH + 2], runs[:WIDTH] + b"\0\0", 1)
    yield invalid("bmp runs that leave a row open", _bitmap(HEIGHT, 8, 1, short, palette), from_head=True)
    yield invalid("bmp runs cut", _bitmap(HEIGHT, 8, 1, runs[: len(runs) // 2], palette))
    flat = places[::-1].astype("u1").tobytes()
    yield invalid("bmp colours beyond the palette", _bitmap(HEIGHT, 8, 0, flat, palette[:16]))


def _bitmap(height: int, bits: int, packing: int, data: bytes, table: bytes = b"") -> bytes:
    """A BMP of rows that need no filling; `table` are its palette or its masks."""
    colours = len(table) // 4 if packing != 3 else 0
    start = 54 + len(table)
    opening = b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start)
    head = struct.pack("<IiiHHIIiiII", 40, WIDTH, height, 1, bits, packing, len(data), 0, 0, colours, 0)
    return opening + head + table + data


def no_pictures() -> Iterator[Case]:
    """What is none, whatever it says that it is."""
    for name, content in {
        "nothing": b"",
        "text": b"hello world",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "pdf": b"%PDF-1.4\n",
        "html": b"<!DOCTYPE html><html></html>",
        "zip": b"PK\3\4" + bytes(60),
        "wave": b"RIFF\x24\0\0\0WAVEfmt " + bytes(24),
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(20),
        "mp4": b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(20),
        "zeros": bytes(1000),
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    }.items():
        yield invalid(name, content, from_head=True)
