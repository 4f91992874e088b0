"""The exported model for transformers and sentence-transformers: texts, images and all heads.

``import student.registered`` makes it known to the Auto classes, so that
``AutoModel.from_pretrained(DIRECTORY)`` and ``SentenceTransformer(DIRECTORY)`` load it without
remote code.
"""

from transformers import AutoConfig, AutoModel, AutoProcessor

from student.registered.config import JasperDistillConfig
from student.registered.model import JasperDistillModel
from student.registered.processor import JasperDistillProcessor

__all__ = ["JasperDistillConfig", "JasperDistillModel", "JasperDistillProcessor"]

AutoConfig.register(JasperDistillConfig.model_type, JasperDistillConfig, exist_ok=True)
AutoModel.register(JasperDistillConfig, JasperDistillModel, exist_ok=True)
AutoProcessor.register(JasperDistillConfig, JasperDistillProcessor, exist_ok=True)
