"""Any model that churnlib has trained as one ONNX graph, from encoded rows to logits.

    graph.py       collects nodes and numbers, and writes them as an ONNX model
    recording.py   what operators a torch module applies to rows, and how they depend on the number of rows
    operators/     each of these operators in ONNX's words
    writing.py     a fitted model as bytes: networks, baselines, ensembles of both
    work.py        how many operations one row takes
    running.py     such bytes as a model that answers, by ONNX Runtime, without torch

A network is recorded rather than given to ``torch.onnx.export``: that takes seconds and two packages more (5.2 s for
the default network on a processor core, of which a run has twenty), and this takes milliseconds. Operators that are not
known here are refused by name.
"""
