"""The compiled reader has the interface of its twin."""

from doorward.http1._heads_py import AnswerFields as AnswerFields
from doorward.http1._heads_py import AnswerReader as AnswerReader
from doorward.http1._heads_py import RequestFields as RequestFields
from doorward.http1._heads_py import RequestReader as RequestReader

DIGEST: str
