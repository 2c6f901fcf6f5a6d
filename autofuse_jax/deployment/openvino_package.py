"""The one place that imports the package openvino; everything else takes it and its operations from here.

Importing it starts a process that reports the use to its makers over the network. A process in which JAX has threads
must not be forked, and a medical image tool should call nobody: the import is told that the reporting part is absent.
"""

import sys

REPORTING = 'openvino_telemetry'

_before = sys.modules.get(REPORTING)
sys.modules[REPORTING] = None  # type: ignore[assignment]  # typeshed lacks None, which Python documents
try:
    import openvino
    from openvino import opset13 as ops
finally:
    if _before is None:
        del sys.modules[REPORTING]
    else:
        sys.modules[REPORTING] = _before

__all__ = ['openvino', 'ops']
