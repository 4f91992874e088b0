"""Published scores that a model's weights must reproduce, by name: rows of a table."""

from collections.abc import Mapping
from dataclasses import dataclass

from teacher_cache.config import GoldenSet, Prompts, TeacherConfig


@dataclass(frozen=True, slots=True)
class GoldenScores:
    """Cosine similarities that a model's authors print beside its usage.

    Attributes:
        source: Where they stand.
        questions: q questions.
        passages: p passages.
        scores: q rows of p cosine similarities.
        dim: Numbers in the vectors that they belong to.
        prompts: The prompts that they were made with.
        max_tokens: More than any of the texts has.
    """

    source: str
    questions: tuple[str, ...]
    passages: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]
    dim: int
    prompts: Prompts
    max_tokens: int = 512

    def settings(self, teacher: TeacherConfig) -> TeacherConfig:
        """Give the settings that the scores belong to.

        Args:
            teacher: The teacher's settings.

        Returns:
            The same with the scores' dimension, prompts and maximum length.
        """
        changes = {"dim": self.dim, "prompts": self.prompts, "max_tokens": self.max_tokens}
        return teacher.model_copy(update=changes)


GOLDEN: Mapping[GoldenSet, GoldenScores] = {
    # The card prints them times 100.
    "nv-embed-v2": GoldenScores(
        source="the model card of nvidia/NV-Embed-v2",
        questions=(
            "are judo throws allowed in wrestling?",
            "how to become a radiology technician in michigan?",
        ),
        passages=(
            "Since you're reading this, you are probably someone from a judo background or someone "
            "who is just wondering how judo techniques can be applied under wrestling rules. So "
            "without further ado, let's get to the question. Are Judo throws allowed in wrestling? "
            "Yes, judo throws are allowed in freestyle and folkstyle wrestling. You only need to "
            "be careful to follow the slam rules when executing judo throws. In wrestling, a slam "
            "is lifting and returning an opponent to the mat with unnecessary force.",
            "Below are the basic steps to becoming a radiologic technologist in Michigan:Earn a "
            "high school diploma. As with most careers in health care, a high school education is "
            "the first step to finding entry-level employment. Taking classes in math and science, "
            "such as anatomy, biology, chemistry, physiology, and physics, can help prepare "
            "students for their college studies and future careers.Earn an associate degree. "
            "Entry-level radiologic positions typically require at least an Associate of Applied "
            "Science. Before enrolling in one of these degree programs, students should make sure "
            "it has been properly accredited by the Joint Review Committee on Education in "
            "Radiologic Technology (JRCERT).Get licensed or certified in the state of Michigan.",
        ),
        scores=((0.874269, 0.004628), (0.009653, 0.860372)),
        dim=4096,
        prompts=Prompts(
            question="Instruct: Given a question, retrieve passages that answer the question\n"
            "Query: "
        ),
    ),
    "stella-en-1.5b-v5": GoldenScores(
        source="the model card of NovaSearch/stella_en_1.5B_v5",
        questions=(
            "What are some ways to reduce stress?",
            "What are the benefits of drinking green tea?",
        ),
        passages=(
            "There are many effective ways to reduce stress. Some common techniques include deep "
            "breathing, meditation, and physical activity. Engaging in hobbies, spending time in "
            "nature, and connecting with loved ones can also help alleviate stress. Additionally, "
            "setting boundaries, practicing self-care, and learning to say no can prevent stress "
            "from building up.",
            "Green tea has been consumed for centuries and is known for its potential health "
            "benefits. It contains antioxidants that may help protect the body against damage "
            "caused by free radicals. Regular consumption of green tea has been associated with "
            "improved heart health, enhanced cognitive function, and a reduced risk of certain "
            "types of cancer. The polyphenols in green tea may also have anti-inflammatory and "
            "weight loss properties.",
        ),
        scores=((0.8179, 0.2958), (0.3194, 0.7854)),
        dim=1024,
        prompts=Prompts(
            question="Instruct: Given a web search query, retrieve relevant passages that answer "
            "the query.\nQuery: "
        ),
    ),
}
"""The scores by the name that a teacher's ``golden`` gives."""
