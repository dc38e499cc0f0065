"""The system's configuration.

Every field carries its unit in its name and its allowed range, which is finite, in its definition. A value outside the
range, or a field that does not exist, raises an error that names the field, the value and what is allowed.
"""

from multispin_env.config.sections import (
    ChannelConfig,
    HeatConfig,
    LiveConfig,
    RequestConfig,
    TaskConfig,
    check_tasks,
)
from multispin_env.config.system import SystemConfig
from multispin_env.config.validation import (
    Checked,
    ConfigError,
    check_fields,
    check_number,
    check_text,
    from_mapping,
    real,
    shown,
    whole,
)

__all__ = [
    "ChannelConfig",
    "Checked",
    "ConfigError",
    "HeatConfig",
    "LiveConfig",
    "RequestConfig",
    "SystemConfig",
    "TaskConfig",
    "check_fields",
    "check_number",
    "check_tasks",
    "check_text",
    "from_mapping",
    "real",
    "shown",
    "whole",
]
