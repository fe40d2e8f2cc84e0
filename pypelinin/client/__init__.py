"""The client: submit pipelines to a Router, follow them, and learn how they ended."""

from pypelinin.client.manager import PipelineManager

__all__ = ["PipelineManager"]
