"""Sums over the global batch: masked, and over the devices it is spread over."""

#: The mapped axis that samples are spread over, or all of those axes.
AxisName = str | tuple[str, ...]
