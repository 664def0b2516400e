"""Nonsense captions in six scripts. Random words suffice for a network that compares strokes and does not read."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np


class Script(StrEnum):
    LATIN = "latin"
    CYRILLIC = "cyrillic"
    CHINESE = "chinese"
    JAPANESE = "japanese"
    KOREAN = "korean"
    ARABIC = "arabic"


# ruff: noqa: E501 - wide characters count double, so these lines are no longer than the others
_WORDS: Final = {
    Script.LATIN: (
        "the a of and to in is you that it he was for on are as with his they at be this have from or one had by but not "
        "what all were we when your can said there use an each which she do how their if will up other about out many then "
        "them these so some her would make like him into time has look two more write go see number no way could people my "
        "than first water been call who oil its now find long down day did get come made may part never money yesterday "
        "kitchen morning nothing brother listen remember together window believe question tomorrow everyone doctor police "
        "l'amour été très voilà pourquoi maison garçon français déjà toujours être où ça bien merci monsieur jamais enfant "
        "nicht über schön Straße müssen Mädchen warum heute vielleicht Geschichte für können größer Zeit gut Herr Frau ich "
        "señor mañana corazón qué dónde años niño también después está aquí gracias nunca todo porque vida hombre casa no "
        "perché città così più amore grazie sempre niente OK TV 1984 25 100% 3:15 it's don't I'm we'll can't you're let's"
    ),
    Script.CYRILLIC: (
        "и в не на я быть он с что а по это она этот к но они мы весь который из у то за свой вы год от так для ты же все "
        "тот мочь человек такой его сказать только или ещё бы себя один как уже до время если сам когда другой вот говорить "
        "наш мой знать стать при чтобы дело жизнь кто первый очень два день её новый рука даже во со раз где там под можно "
        "ну какой после их работа без самый потом надо хотеть ли слово идти большой должен место иметь ничто завтра вчера "
        "прощай здравствуй спасибо друзья ночью почему никогда сегодня брат дверь город війна життя більше їхній добре щось "
        "благодаря утре човек където МОСКВА ВСЁ НЕТ 1984 25 100"
    ),
    Script.CHINESE: (
        "我们 你们 他们 这个 那个 什么 怎么 为什么 知道 没有 现在 时候 今天 明天 昨天 朋友 先生 小姐 老师 学生 中国 世界 人民 工作 生活 喜欢 可以 "
        "不是 就是 因为 所以 如果 但是 已经 一起 看见 听说 觉得 回家 吃饭 喝水 睡觉 走路 开车 飞机 火车 医院 学校 城市 天气 下雨 太阳 月亮 星星 大海 "
        "山水 风景 音乐 电影 故事 历史 问题 办法 事情 时间 地方 东西 孩子 父亲 母亲 哥哥 妹妹 爱 恨 生 死 心 手 头 眼 门 窗 书 笔 刀 枪 火 钱 马 "
        "谢谢 再见 对不起 没关系 快点 等等 小心 别走 救命 真的 当然 也许 永远 从来 不要 必须 应该 希望 相信 记得 忘记 开始 结束 了 的 吗 呢 吧 在 和 很 都 还"
    ),
    Script.JAPANESE: (
        "私 あなた 彼 彼女 これ それ あれ どこ いつ なぜ 何 誰 今日 明日 昨日 時間 友達 先生 学生 日本 世界 仕事 生活 好き 嫌い 大丈夫 ありがとう "
        "ごめんなさい さようなら おはよう こんにちは お願い 待って 行こう 来て 見て 聞いて 食べる 飲む 眠い 走る 歩く 話す 分かった 知らない 本当 "
        "もちろん たぶん 絶対 早く 静か 電車 病院 学校 天気 雨 太陽 月 星 海 山 花 音楽 映画 物語 問題 場所 子供 父 母 兄 妹 愛 心 手 目 "
        "テレビ コーヒー カメラ ホテル パーティー ニュース は が を に で と も の ね よ か です ます でした ません という から まで だけ"
    ),
    Script.KOREAN: (
        "나는 너는 우리는 그는 그녀는 이것 저것 어디 언제 왜 무엇 누구 오늘 내일 어제 시간 친구 선생님 학생 한국 세계 일 생활 좋아요 싫어요 괜찮아요 "
        "감사합니다 미안해요 안녕하세요 잘가요 기다려 가자 와요 봐요 들어요 먹다 마시다 자다 뛰다 걷다 말하다 알았어 몰라요 정말 물론 아마 절대 빨리 "
        "조용히 기차 병원 학교 날씨 비 태양 달 별 바다 산 꽃 음악 영화 이야기 문제 장소 아이 아버지 어머니 형 동생 사랑 마음 손 눈 집 문 책 돈 물 "
        "그리고 그러나 그래서 하지만 만약 이미 함께 다시 여기 거기 모두 조금 많이"
    ),
    Script.ARABIC: (
        "أنا أنت هو هي نحن هم هذا هذه ذلك أين متى لماذا ماذا من اليوم غدا أمس الوقت صديق معلم طالب العالم العمل الحياة أحب "
        "لا نعم شكرا آسف مرحبا وداعا انتظر اذهب تعال انظر اسمع أكل شرب نام ركض مشى تكلم فهمت أعرف حقا طبعا ربما أبدا بسرعة "
        "هدوء قطار مستشفى مدرسة الطقس مطر شمس قمر نجم بحر جبل وردة موسيقى فيلم قصة مشكلة مكان طفل أب أم أخ أخت حب قلب يد عين "
        "بيت باب كتاب مال ماء نار و أو ثم لكن إذا لأن في على إلى عن مع بعد قبل كل بعض"
    ),
}

WORDS: Final = {script: tuple(text.split()) for script, text in _WORDS.items()}
WORDS_OF_A_LINE: Final = (1, 7)  # the fewest and the most
_JOINED: Final = (Script.CHINESE, Script.JAPANESE)  # written without spaces
RIGHT_TO_LEFT: Final = (Script.ARABIC,)
_TERMINATORS: Final = {
    Script.LATIN: ("", "", ".", "!", "?", "...", ","),
    Script.CYRILLIC: ("",),
    Script.CHINESE: ("", "", "。", "！", "？"),
    Script.JAPANESE: ("", "", "。", "！", "？"),
    Script.KOREAN: ("", "", "", ".", "?"),
    Script.ARABIC: ("", "", "؟", "،"),
}

MARKS: Final = "".join({mark for marks in _TERMINATORS.values() for mark in marks}) + "-"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a caption as words, so that single words can be replaced."""

    script: Script
    words: tuple[str, ...]
    terminator: str = ""

    @property
    def spaced(self) -> bool:
        """Whether there are spaces between words."""
        return self.script not in _JOINED

    @property
    def text(self) -> str:
        return (" " if self.spaced else "").join(self.words) + self.terminator


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words and punctuation of a script for which a typeface has all characters."""

    script: Script
    words: tuple[str, ...]
    terminators: tuple[str, ...]
    dash: bool

    def line(self, rng: np.random.Generator, count: tuple[int, int] = WORDS_OF_A_LINE) -> Line:
        """Make a line with a number of words in this range."""
        words = [str(word) for word in rng.choice(self.words, int(rng.integers(count[0], count[1] + 1)))]
        if self.script in (Script.LATIN, Script.CYRILLIC):
            style = rng.random()
            if style < 0.15:
                words = [word.upper() for word in words]
            elif style < 0.7:
                words[0] = words[0][:1].upper() + words[0][1:]
            if self.dash and rng.random() < 0.06:
                words[0] = "- " + words[0]
        return Line(self.script, tuple(words), str(rng.choice(self.terminators)))

    def with_one_word_changed(self, rng: np.random.Generator, line: Line, *, ending_only: bool = False) -> Line:
        """Return the line with one word replaced, in the same case.

        Args:
            ending_only: keep the first half of the word, and take the ending of another.
        """
        place = int(rng.integers(len(line.words)))
        old = line.words[place]
        kept = old[: int(rng.integers(len(old) // 2, len(old)))] if ending_only else ""
        new = old
        while new.casefold() == old.casefold():
            other = str(rng.choice(self.words))
            new = kept + other[len(kept) - len(old) :] if ending_only else other
        new = new.upper() if old.isupper() else new
        return Line(self.script, (*line.words[:place], new, *line.words[place + 1 :]), line.terminator)


def vocabulary(script: Script, missing: frozenset[str]) -> Vocabulary:
    """Return the vocabulary of a script that needs none of the ``missing`` characters."""
    words = tuple(word for word in WORDS[script] if not missing & set(word + word.upper()))
    terminators = tuple(mark for mark in _TERMINATORS[script] if not missing & set(mark))
    return Vocabulary(script, words, terminators, dash="-" not in missing)
