"""Tensors that clients send: judged from their head before anything is unpacked.

NumPy makes room for what a head declares before it reads, and PyTorch unpacks what a file holds packed.
"""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any, Final

import numpy as np
import torch
from vllm.utils.sparse_utils import check_sparse_tensor_invariants_threadsafe

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.pictures import data_url

FIELD: Final = "image_embeds"

_NUMPY: Final = b"\x93NUMPY"
_ZIP: Final = b"PK\3\4"


def embedding(text: str) -> torch.Tensor:
    """The tensor that a base64 text is.

    Raises:
        InvalidField: it is no dense tensor of numbers, or not the whole of one.
    """
    content = data_url.decoded(text)
    try:
        if content.startswith(_NUMPY):
            return _from_numpy(content)
        return _from_torch(content)
    except InvalidField:
        raise
    except MemoryError:
        raise
    except Exception as error:  # both raise nearly every class of exception
        raise _refused("cannot be read") from error


def _from_numpy(content: bytes) -> torch.Tensor:
    file = io.BytesIO(content)
    form: Any = np.lib.format
    read = form.read_array_header_1_0 if form.read_magic(file) == (1, 0) else form.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise _refused("declares another number of values than it has")
    return torch.from_numpy(np.load(io.BytesIO(content), allow_pickle=False))


def _from_torch(content: bytes) -> torch.Tensor:
    if not content.startswith(_ZIP):
        raise _refused("is neither a file of torch.save nor one of numpy.save")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > len(content):
            raise _refused("is packed; send it as torch.save writes it")
    with check_sparse_tensor_invariants_threadsafe():
        tensor = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided:
        raise _refused("is no dense tensor")
    if tensor.numel() * tensor.element_size() > len(content):  # one value, declared to stand in many places
        raise _refused("declares another number of values than it has")
    return tensor


def _refused(what: str) -> InvalidField:
    return InvalidField(FIELD, f"the tensor {what}", code="invalid_image")
