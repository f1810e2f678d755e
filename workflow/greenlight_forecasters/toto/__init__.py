"""Toto 1.0: a decoder-only transformer over patches of time with attention across variates.

Source: Cohen et al., "This Time is Different: An Observability Perspective on Time Series Foundation Models"
(arXiv:2505.14766); published code: the PyPI package `toto-ts`.
"""
