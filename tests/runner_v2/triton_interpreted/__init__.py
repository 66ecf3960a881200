"""A Triton backend named `cpu` that compiles nothing.

vLLM's CPU build uses Triton only where Triton has a backend of that name (vLLM 0.32, triton_utils/importing.py:38), and
runner V2 wants Triton. Under TRITON_INTERPRET=1 Triton runs kernels in its interpreter and asks a backend for its name
alone. Triton finds `driver` and `compiler` through the entry point `triton.backends`, in every process.
"""
