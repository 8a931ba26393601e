"""Writes docs/result.schema.json anew: python -m opus_controller.report.schema > docs/result.schema.json"""

from __future__ import annotations

from opus_controller.report.conclude import json_schema_text

if __name__ == "__main__":
    print(json_schema_text(), end="")
