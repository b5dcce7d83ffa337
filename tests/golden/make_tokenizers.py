"""Writes tests/golden/tokenizers/: small tokenizers of every kind we read, and what the originals do.

    pip install -r models/train/requirements.txt
    python tests/golden/make_tokenizers.py

Oracle: Hugging Face `tokenizers` for every tokenizer.json, Google's `sentencepiece` for the
tokenizer.model.  README.md beside this file describes the formats.
"""

import io
import json
import pathlib
import random
import unicodedata

import sentencepiece
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

OUT = pathlib.Path(__file__).parent / "tokenizers"
LLAMA3_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                  r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")

# Written for this purpose; each language only needs to give the trainer some pairs to merge.
TRAINING_TEXT = """
The base station asks the gate which experts should see the token, and the experts answer by radio.
When a device is far away or busy, the station may choose another expert that is almost as good.
It's late, they're tired, we've waited, I'm here, you'll see, he'd know; don't, can't, won't, SHE'S, WE'RE.
Numbers: 0 1 2 3 10 42 100 365 1024 65535 1000000, 3.14159, 1e-5, 50%, $7.99, 2024-11-24, 12:30.
Der Wächter öffnet früh die Tür und grüßt die müden Gäste; danach schläft er bis zum späten Nachmittag.
Le garçon naïf a mangé une crêpe près du château, où l'été n'était pas encore arrivé. C'est ça, café, déjà vu.
El niño pequeño soñó con un pingüino mañana por la mañana. ¿Dónde está? ¡Aquí!
Мальчик шёл по дороге и пел песню о море, о звёздах и о далёком доме.
Η θάλασσα είναι ήρεμη το πρωί και ο ήλιος λάμπει πάνω από το νησί.
البحر هادئ في الصباح والشمس تشرق فوق المدينة القديمة.
הים שקט בבוקר והשמש זורחת מעל העיר העתיקה.
小さな村に住む男の子は毎朝、川のそばを歩いて学校へ行きます。カタカナも少し。
小村里的孩子每天早上沿着河边走到学校去,晚上回家吃饭。
작은 마을에 사는 아이는 매일 아침 강가를 걸어서 학교에 갑니다.
สวัสดีตอนเช้า วันนี้อากาศดีมาก ไปโรงเรียนกันเถอะ
सुबह समुद्र शांत है और सूरज शहर के ऊपर चमकता है।
Bài thơ này nói về một dòng sông và những người bạn cũ ở thành phố.
if (x == 0) { return y[i] + 2 * z; }  // comment	tab
def f(a, b):
    return a + b

😀 😃 👍 👍🏽 👨‍👩‍👧‍👦 🇩🇪 🇯🇵 ❤️ ☕ ★ → ≤ ≥ € £ ¥ ° µ ½ ² № ™ © …
"""

# --- Strings --------------------------------------------------------------------------------------

WRITTEN = [
    "", " ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n", " \n ", "\n \n", "a", " a", "a ", " a ", "  a  b  ",
    "Hello, world!", "Hello,  world!", "hello\nworld", "hello\r\nworld\r\n", "a\tb\t\tc", "tab\t end\t",
    "line one\nline two\n\nline four\n\n\n", "mixed\r\n\n\r\rends\n\r", "    indented\n        more\n",
    "trailing spaces   ", "   leading spaces", "\u00a0no-break\u00a0space\u00a0", "\u3000ideographic\u3000space",
    "\u2003em\u2009thin\u200ahair\u202fnarrow\u205fmath\u1680ogham", "\x0bvertical\x0cfeed\x85next\u2028line\u2029para",
    "\u180emongolian\u180e", "it's we're I'm you'll he'd they've don't", "IT'S WE'RE I'M YOU'LL HE'D THEY'VE DON'T",
    "'s't're've'm'll'd", " 's 't 're", "''s", "it\u2019s we\u2019re", "rock'n'roll o'clock 'tis", "'S'T'RE'Ve'M'lL'D",
    "\u017f '\u017f long s", "K\u212a kelvin 'ſ", "0", "7", "42", "007", "1234567890", "1,234,567.89", "3.14159e-10",
    "v1.2.3-rc4", "a1b2c3", "1st 2nd 3rd 4th", "\u0661\u0662\u0663 \u0967\u0968\u0969 \u2460\u2461 \u00bd \u00b2 \u2167",
    "\U0001d7d8\U0001d7d9\U0001d7da", "12 345 678", "2024-11-24T12:30:00Z", "100%", "$5.00", "-1", "--1", "+-*/=",
    "!!!", "?!?!", "...", "…", "a.b.c", "(a)[b]{c}<d>", "\"quoted\" 'single' `tick`", "semi;colon:comma,", "@user #tag",
    "https://example.org/a/b?c=d&e=f#g", "name@example.org", "C:\\path\\file", "/usr/bin/env", "snake_case camelCase",
    "x = y + 2;", "for (int i = 0; i < n; ++i) { a[i] *= 2; }", "def f(x):\n    return x\n", "{\"key\": [1, 2, 3]}\n",
    "<div class=\"a\">b</div>", "a\\nb", "\\u0041", "%s %d", "\x00", "a\x00b", "\x00\x00", "\x01\x02\x03", "\x1b[31mred\x1b[0m",
    "\x7f", "\x80\x81\x9f", "bell\x07back\x08", "caf\u00e9", "cafe\u0301", "caf\u00e9 cafe\u0301", "\u00c5 A\u030a \u212b",
    "\u1e69 s\u0323\u0307 s\u0307\u0323", "\u0344 \u0308\u0301", "q\u0307\u0323", "\u0301alone", " \u0301space mark", "e\u0301\u0301\u0301",
    "\ufb01 \ufb03 \ufb05 ligatures", "\u1100\u1161\u11a8 \uac01 \u1100\u1161", "\u0958 \u0915\u093c", "\u2126 \u03a9",
    "\u0f43 \u0f42\u0fb7", "Zalgo z\u0335\u0321a\u0336\u0322l\u0337\u0323g\u0338\u0324o\u0334\u0325", "\u00df \u1e9e ss SS", "\u0130\u0131iI", "\u01c4\u01c5\u01c6",
    "Stra\u00dfe", "na\u00efve r\u00f4le", "\u00bfQu\u00e9?", "\u010ce\u0161tina \u0159e\u0159icha", "\u0141\u00f3d\u017a", "\u1ebft \u1ec7 \u01b0\u01a1", "t\u00fcrk\u00e7e \u015fi\u015fe",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u03c2 \u03c3", "\u0561\u0575\u0562 \u10d0\u10d1\u10d2 \u13a0\u13a1",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627", "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd",
    "abc \u05d0\u05d1\u05d2 def", "\u200eLRM\u200f RLM \u061c", "\u202aembed\u202c \u202eoverride\u202c \u2066iso\u2069", "\u4f60\u597d\uff0c\u4e16\u754c\uff01",
    "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c", "\uff21\uff22\uff23\uff11\uff12\uff13\uff01", "\uff76\uff9e\uff77\uff9e", "\u304b\u3099\u304c", "\u6f22\u5b57\u304b\u306a\u4ea4\u3058\u308a\u6587",
    "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4", "\U00020000\U0002a6d6\U00030000", "\u2f00\u2fd5 \uf900\ufa0e", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
    "\u0e01\u0e33 \u0e19\u0e49\u0e33", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e", "\u0995\u09cd\u09b7 \u0ba4\u0bae\u0bbf\u0bb4\u0bcd", "\u0b95\u0bca \u0b95\u0bc6\u0bbe", "\u1780\u17d2\u1798\u17d2", "\u1019\u103c\u1014\u103a\u1019\u102c", "\u12a0\u121b\u122d\u129b", "\u0f56\u0f7c\u0f51\u0f0b",
    "\U0001f600", "\U0001f44d\U0001f3fd", "\U0001f44d\U0001f3fb\U0001f3ff", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f1e9\U0001f1ea\U0001f1ef\U0001f1f5",
    "\U0001f1e9", "\u2764\ufe0f\u2764\ufe0e\u2764", "1\ufe0f\u20e3 #\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "\U0001f9d1\U0001f3fe\u200d\U0001f680", "\U0001f469\u200d\u2764\ufe0f\u200d\U0001f48b\u200d\U0001f469", "\u263a\ufe0f text \U0001f600text", "a\U0001f600b \U0001f600 c",
    "zero\u200bwidth\u200cnon\u200djoin\ufeffer", "\ufeffBOM first", "\u2060word\u2060join", "soft\u00adhyphen", "\ufff9\ufffa\ufffb", "\ufffc\ufffd", "\ud7ff\ue000",
    "\uf8ff private", "\U000f0000\U0010fffd", "\ufffe\uffff", "\U0001ffff\U0010ffff", "\U00010000", "\U0001f12f\U0001d11e", "\U00010330\U00010348", "\u0378 unassigned",
    "\u2581", "\u2581a", "a\u2581b", " \u2581 ", "\u2581\u2581", "<0x41>", "<0x0A>", "<0xFF>", "\u0120a", "\u010aa", "\u00c3\u00a9", "\u0100\u0101", "<unk>", "<s>", "</s>", "<s>a</s>",
    "a<s>b", " <s> a </s> ", "<s", "<<s>>", "s>", "<S>", "\u2264\u2265\u2260\u2211\u222b\u221a\u221e", "\u2190\u2191\u2192", "\u2500\u2502\u250c", "\u2800\u28ff", "\u266a\u266b", "\u20ac\u00a3\u00a5\u20bf",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ab" * 60, "Donaudampfschifffahrtsgesellschaftskapitaen" * 3, "x" * 300, "\u00e9" * 40, "e\u0301" * 40, "\u5b57" * 60, "\U0001f600" * 30,
    " " * 17, " " * 100, "\n" * 20, "\t" * 9 + "x", "a" + " " * 9 + "b", "a \n b \n  c", " \n\n  x", "x  \n\n  y\n \n", "\r\r\n\n\r", "a\u00a0\u00a0b", "a \u00a0 b", "!\n!\n\n", "--\r\n--", " !", "  !", "! !",
    "0" * 50, "1 " * 30, "the the the the the", "The base station asks the gate.", "Experts answer by radio, don't they?", "We've waited 42 days: it's 7.99!",
    "token,token;token", "expert" * 20, "the\u200bthe", "the\u0301", "\u0301the", "devices/devices", "devicesDEVICESDevices", "gate?gate!gate.", "a  b   c    d     e",
]
# Added tokens of one tokenizer or another, in awkward company.
ADDED = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool>", "<left>", "<right>", "<both>", "<word>", "[INST]", "[/INST]",
         "expert\u00e9", "WDMOE", "<s>", "</s>", "<unk>", "<|begin_of_text|>", "<|eot_id|>"]
AROUND = ["{0}", " {0}", "{0} ", "  {0}  ", "a{0}b", "a {0} b", "a  {0}\n b", "{0}{0}", "{0} {0}", "\n{0}\t", "{0}x {0}", "caf\u00e9{0}\u4e2d",
          "_{0}_", "{0}'s", "1{0}2", "\u00e9 {0}.", "{0}<", "<{0}"]


def code_points() -> list[list[int]]:
    """Assigned code points by general category, so that rare kinds are as likely as letters.

    Only what this Python's Unicode (14) assigns: later versions may differ between engines."""
    kinds: dict[str, list[int]] = {}
    for code in range(0x110000):
        kind = unicodedata.category(chr(code))
        if kind not in ("Cs", "Cn", "Co"):
            kinds.setdefault(kind, []).append(code)
    return [kinds[kind] for kind in sorted(kinds)]


def strings() -> list[str]:
    rng, texts = random.Random(20240607), list(WRITTEN)
    for number, token in enumerate(ADDED):
        for form in rng.sample(AROUND, 5):
            texts.append(form.format(token))
        texts.append(form.format(token).upper() if number % 2 else token[:-1])
    texts += [rng.choice(AROUND).format(rng.choice(ADDED)) + rng.choice(["", " ", "x", "\n"]) +
              rng.choice(AROUND).format(rng.choice(ADDED)) for _ in range(40)]
    texts += [line for line in TRAINING_TEXT.split("\n") if line][:24]
    for _ in range(24):                              # slices start and end anywhere
        start = rng.randrange(len(TRAINING_TEXT) - 60)
        texts.append(TRAINING_TEXT[start:start + rng.randint(1, 60)])
    by_kind = code_points()
    glue = [" ", "  ", "\n", "\t", "\r\n", "'s", "a", "B", "7", ".", "\u00e9", "e\u0301", "\u4e2d", "\U0001f600", "\u200d", "\u00a0"]
    for _ in range(90):
        texts.append("".join(chr(rng.choice(rng.choice(by_kind))) for _ in range(rng.randint(1, 24))))
    for _ in range(90):
        texts.append("".join(rng.choice(glue) if rng.random() < 0.6 else chr(rng.choice(rng.choice(by_kind)))
                             for _ in range(rng.randint(2, 30))))
    return list(dict.fromkeys(texts))


# --- Tokenizers -----------------------------------------------------------------------------------

def lines() -> list[str]:
    return [line for line in TRAINING_TEXT.split("\n") if line]


def byte_level_bpe(pre_tokenizer, specials, size, normalizer=None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(lines(), trainers.BpeTrainer(
        vocab_size=size, special_tokens=specials, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer


def bytelevel() -> Tokenizer:
    """GPT-2's way; added tokens with every stripping flag."""
    tokenizer = byte_level_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"], 520)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_tokens([
        AddedToken("<left>", lstrip=True), AddedToken("<right>", rstrip=True),
        AddedToken("<both>", lstrip=True, rstrip=True), AddedToken("<word>", single_word=True),
        AddedToken("WDMOE", single_word=True), AddedToken("<tool>")])
    tokenizer.add_special_tokens([AddedToken("<|im_start|>", rstrip=True, special=True)])
    return tokenizer


def bytelevel_prefix() -> Tokenizer:
    """The same vocabulary way, with add_prefix_space."""
    tokenizer = byte_level_bpe(pre_tokenizers.ByteLevel(add_prefix_space=True), ["<|endoftext|>"], 400)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def llama3() -> Tokenizer:
    """Llama 3's pattern, ignore_merges, BOS by template."""
    specials = ["<|begin_of_text|>", "<|eot_id|>"]
    tokenizer = byte_level_bpe(split_then_bytes(LLAMA3_PATTERN), specials, 640)
    tokenizer.model.ignore_merges = True
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A",
                                      pair="<|begin_of_text|> $A <|begin_of_text|> $B",
                                      special_tokens=[("<|begin_of_text|>", 0)])])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False)])
    return forget_merges(tokenizer)


def forget_merges(tokenizer: Tokenizer) -> Tokenizer:
    """Keeps whole words in the vocabulary but forgets every second one's merge: only ignore_merges
    still finds them."""
    data = json.loads(tokenizer.to_str())
    whole = {piece for line in lines() for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(line)}
    made = [pair for pair in data["model"]["merges"] if "".join(pair) in whole and len("".join(pair)) > 2]
    data["model"]["merges"] = [pair for pair in data["model"]["merges"] if pair not in made[::2]]
    return Tokenizer.from_str(json.dumps(data))


def qwen2() -> Tokenizer:
    """NFC, Qwen 2's pattern, no BOS; one added token is matched after normalisation, one before."""
    tokenizer = byte_level_bpe(split_then_bytes(QWEN2_PATTERN), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                               600, normalizers.NFC())
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_tokens([AddedToken("expert\u00e9", normalized=True), AddedToken("e\u0301e\u0301", normalized=False)])
    return tokenizer


def metaspace_vocabulary(size: int) -> tuple[list[str], list]:
    scratch = Tokenizer(models.BPE())
    scratch.pre_tokenizer = pre_tokenizers.Metaspace()
    scratch.train_from_iterator(lines(), trainers.BpeTrainer(vocab_size=size, show_progress=False))
    model = json.loads(scratch.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), [tuple(m) for m in model["merges"]]


def mixtral() -> Tokenizer:
    """Llama 2's and Mixtral's way: byte fallback, the dummy prefix put there by the normaliser."""
    words, merges = metaspace_vocabulary(620)
    vocabulary = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + words
    tokenizer = Tokenizer(models.BPE({w: i for i, w in enumerate(vocabulary)}, merges, unk_token="<unk>",
                                     fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(),
                                           decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens([AddedToken("[INST]", normalized=False), AddedToken("[/INST]", normalized=True)])
    return tokenizer


def metaspace() -> Tokenizer:
    """Dummy prefix only at the very start, digits alone, unknown characters one by one."""
    words, merges = metaspace_vocabulary(560)
    vocabulary = ["<unk>", "<s>", "</s>"] + words
    tokenizer = Tokenizer(models.BPE({w: i for i, w in enumerate(vocabulary)}, merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace("\u2581", prepend_scheme="first"), pre_tokenizers.Digits(individual_digits=True)])
    tokenizer.decoder = decoders.Metaspace("\u2581", prepend_scheme="first")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens([AddedToken("<tool>", lstrip=True), AddedToken("<word>", single_word=True)])
    return tokenizer


def metaspace_always() -> Tokenizer:
    """Dummy prefix after every added token too; runs of unknown characters become one <unk>."""
    words, merges = metaspace_vocabulary(440)
    vocabulary = ["<unk>", "<s>", "</s>"] + [w for w in words]
    tokenizer = Tokenizer(models.BPE({w: i for i, w in enumerate(vocabulary)}, merges, unk_token="<unk>",
                                     fuse_unk=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Metaspace("\u2581", prepend_scheme="always")])
    tokenizer.decoder = decoders.Metaspace("\u2581", prepend_scheme="always")
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    return tokenizer


# --- Goldens --------------------------------------------------------------------------------------

def write_lines(path: pathlib.Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))


def random_ids(size: int) -> list[list[int]]:
    """Sequences no text would give: bytes that are no UTF-8, specials in the middle, empty."""
    rng = random.Random(size)
    low = min(size, 280)      # where the byte tokens are
    return [[]] + [[rng.randrange(low if number % 2 else size) for _ in range(rng.randint(1, 12))]
                   for number in range(80)]


def write_json_tokenizer(name: str, tokenizer: Tokenizer, legacy_merges: bool = False) -> None:
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    data = json.loads(tokenizer.to_str())
    if legacy_merges:        # "a b", as older files have it, instead of ["a", "b"]
        data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    (folder / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=True, indent=0) + "\n")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def decodings(ids):
        return {"decoded": tokenizer.decode(ids, skip_special_tokens=False),
                "decoded_skip_special": tokenizer.decode(ids, skip_special_tokens=True)}
    rows = []
    for text in strings():
        ids = tokenizer.encode(text).ids
        rows.append({"text": text, "ids": ids,
                     "ids_no_special": tokenizer.encode(text, add_special_tokens=False).ids, **decodings(ids)})
    write_lines(folder / "golden.jsonl", rows)
    write_lines(folder / "decode.jsonl",
                [{"ids": ids, **decodings(ids)} for ids in random_ids(tokenizer.get_vocab_size())])
    unknown = sum(tokenizer.token_to_id("<unk>") in row["ids"] for row in rows)
    print(f"{name}: vocabulary {tokenizer.get_vocab_size()}, {len(rows)} strings, with <unk> {unknown}")


def write_sentencepiece() -> None:
    folder = OUT / "sentencepiece"
    folder.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines()), model_writer=model, model_type="bpe", vocab_size=700, byte_fallback=True,
        character_coverage=0.999, normalization_rule_name="identity", remove_extra_whitespaces=False,
        add_dummy_prefix=True, split_digits=True, allow_whitespace_only_pieces=True, num_threads=1,
        user_defined_symbols=["<tool>"], minloglevel=2)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "legacy": True,
         "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}, indent=2) + "\n")
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    rows = []
    for text in strings():
        ids = processor.encode(text)
        # Control pieces (<s>, </s>) are no text to SentencePiece: both decodings leave them out.
        decoded = processor.decode(ids)
        rows.append({"text": text, "ids": [processor.bos_id(), *ids], "ids_no_special": ids,
                     "decoded": decoded, "decoded_skip_special": decoded})
    write_lines(folder / "golden.jsonl", rows)
    decoded = [(ids, processor.decode(ids)) for ids in random_ids(processor.get_piece_size())]
    write_lines(folder / "decode.jsonl",
                [{"ids": ids, "decoded": text, "decoded_skip_special": text} for ids, text in decoded])
    print(f"sentencepiece: vocabulary {processor.get_piece_size()}, {len(rows)} strings")


def main():
    write_json_tokenizer("bytelevel", bytelevel(), legacy_merges=True)
    for make in (bytelevel_prefix, llama3, qwen2, mixtral, metaspace, metaspace_always):
        write_json_tokenizer(make.__name__, make())
    write_sentencepiece()


if __name__ == "__main__":
    main()
