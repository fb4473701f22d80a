"""The models. Recipes name them; :mod:`hrm_arc.models.spec` has the list."""

from hrm_arc.models.spec import MODELS, ModelSpec, build_model, find_model, register_model

__all__ = ["MODELS", "ModelSpec", "build_model", "find_model", "register_model"]
