"""The sink of ``POST /feedback``: labels as lines of JSON beside the recorded predictions, under their pseudonyms."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from churnlib.data.recorded import append_line
from churnlib.serving.answering.feedback import Feedback
from churnlib.serving.seeing.recording import Recorder


class LabelFile:
    """Appends labels to ``labels-<process>.jsonl``; each line is there whole or not at all.

    Args:
        folder: Of the records.
        recorder: Knows under which names customers are recorded.
    """

    def __init__(self, folder: str | Path, recorder: Recorder) -> None:
        self._path = Path(folder) / f"labels-{os.getpid()}.jsonl"
        self._recorder = recorder

    def __call__(self, given: Feedback) -> None:
        """Keep a label.

        Raises:
            OSError: If the file cannot be written.
        """
        [name] = self._recorder.names_of([given.customer_id])
        line = json.dumps({**asdict(given), "customer_id": name}) + "\n"
        append_line(self._path, line.encode())
