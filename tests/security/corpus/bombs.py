"""Bombs: nesting, constant folding, int and str, ReDoS, swallowed timeouts, signals, output, memory, collisions."""

from __future__ import annotations

from tests.security.snippets import Family, Snippet

SNIPPETS: list[Snippet] = []

RUN = "def run(input_data):\n"


def body(text: str) -> str:
    """A `run` of these lines."""
    return RUN + "".join(f"    {line}\n" for line in text.split("\n"))


# ------------------------------------------------------------------------------------------------ deep nesting
nesting = Family("deep nesting", SNIPPETS)
for name, expression, ending in [
    ("parentheses", "(" * 300 + "0" + ")" * 300, "SyntaxError"),
    ("lists", "[" * 300 + "]" * 300, "SyntaxError"),
    ("minus signs", "-" * 30_000 + "1", "broken"),
    ("not", "not " * 30_000 + "1", "broken"),
    ("sums", "1" + "+x" * 30_000, "broken"),
    ("attributes", "x" + ".a" * 30_000, "broken"),
    ("calls", "x" + "()" * 30_000, "broken"),
    ("subscripts", "x" + "[0]" * 30_000, "broken"),
    ("lambdas", "lambda: " * 3_000 + "0", "broken"),
    ("conditions", "0 if x else " * 3_000 + "0", "broken"),
    ("comprehensions", "[x for x in " * 250 + "x" + "]" * 250, "SyntaxError"),
    ("powers", "2" + "**x" * 30_000, "broken"),
]:
    nesting(name, body(f"x = 1\nreturn {expression}"), bomb=ending)
nesting(
    "indents",
    RUN + "".join(" " * n + "if 1:\n" for n in range(1, 120)) + " " * 120 + "pass\n",
    bomb="IndentationError",
)
nesting("elif", body("x = input_data\nif x == 0:\n    pass\n" + "elif x == 1:\n    pass\n" * 5_000), bomb="broken")
nesting(
    "functions",
    RUN + "".join(" " * n + f"def f{n}():\n" for n in range(1, 120)) + " " * 120 + "pass\n",
    bomb="IndentationError",
)
nesting("recursion", "def f(x):\n    return f(x)\n\n" + body("return f(0)"), bomb="RecursionError")
nesting(
    "recursion in repr",
    body("x = []\nfor _ in range(100_000):\n    x = [x]\nreturn repr(x)"),
    bomb="RecursionError",
)
nesting(
    "recursion in a comparison",
    body("x, y = [], []\nfor _ in range(100_000):\n    x, y = [x], [y]\nreturn x == y"),
    bomb="RecursionError",
)
nesting(
    "recursion in hashing", body("x = ()\nfor _ in range(1_000_000):\n    x = (x,)\nreturn hash(x)"), bomb="broken"
)
nesting(
    "recursion in a sort key",
    "class K:\n    def __lt__(self, other):\n        return sorted([K(), K()])\n\n"
    + body("return sorted([K(), K()])"),
    bomb="RecursionError",
)
nesting(
    "an answer of many floors",
    body("x = []\nfor _ in range(100_000):\n    x = [x]\nreturn x"),
    bomb="RecursionError",
)
nesting("an answer that holds itself", body("x = []\nx.append(x)\nreturn x"), bomb="ValueError")
nesting("json of many floors", "import json\n\n" + body("return json.loads('[' * 100_000)"), bomb="RecursionError")
nesting(
    "a regular expression of many floors",
    "import re\n\n" + body("return re.match('(' * 9_000 + ')' * 9_000, '').end()"),
    bomb="RecursionError",
)
nesting(
    "iterators around iterators",
    body("x = iter([1])\nfor _ in range(200_000):\n    x = map(abs, x)\nreturn list(x)"),
    bomb="SIGSEGV",
)
nesting(
    "partials around partials",
    "import functools\n\n"
    + body("x = abs\nfor _ in range(200_000):\n    x = functools.partial(lambda f: f(), x)\nreturn x()"),
    bomb="broken",
)

# ------------------------------------------------------------------------------------------- constant folding
folding = Family("constant folding bombs", SNIPPETS, bomb="time")
folding("power of powers", body("return 9**9**9 % 10"))
folding("power of powers in a default", "def run(input_data, x=9**9**9):\n    return 0", at_load=True)
folding("shift", body("return (1 << (1 << 33)) & 1"), bomb="memory")
folding("repeated text", body("return len('x' * 10**9)"), bomb="memory")
folding("repeated bytes", body("return len(b'x' * 10**9)"), bomb="memory")
folding("repeated tuple", body("return len((1, 2, 3) * 10**9)"), bomb="memory")
folding("tuples of tuples", body("return len(((((1,) * 200 * 200) * 200) * 200) * 20)"), bomb="memory")
folding("formatted width", body("return len('%1000000000d' % 1)"), bomb="memory")
folding("f-string width", body("return len(f'{1:1000000000}')"), bomb="memory")
folding("annotation", "class A:\n    x: 9**9**9 = 0\n\n" + body("return 0"), at_load=True)
folding("key of a subscript", body("return {}[9**9**9]"))
folding("decorator", "@(lambda f, n=9**9**9: f)\n" + body("return 0"), at_load=True)
folding("frozen set in a test", body("return input_data in {9**9**9, 1}"))
folding("products of squares", body("return " + "(" * 60 + "10**1000" + ")**2" * 60))

# ---------------------------------------------------------------------------------------- int and str bombs
digits = Family("int and str bombs", SNIPPETS, bomb="time")
_TEXT = {
    "factorial": ("import math", "math.factorial(10**7) % 7", "time"),
    "binomial": ("import math", "math.comb(10**7, 5 * 10**6) % 7", "time"),
    "integer root": ("import math", "math.isqrt(7**(10**7)) % 7", "time"),
    "power by pow": ("", "pow(3, 10**9) % 7", "time"),
    "power by operator": ("import operator", "operator.pow(3, 10**9) % 7", "time"),
    "product by reduce": (
        "import functools, operator",
        "functools.reduce(operator.mul, range(1, 10**7)) % 7",
        "time",
    ),
    "product by math": ("import math", "math.prod(range(1, 10**7)) % 7", "time"),
    "digits of a number": ("", "len(str(7**10**6))", "ValueError"),
    "number of digits": ("", "int('9' * 10**6)", "ValueError"),
    "number of digits in another base": ("", "int('z' * 10**6, 36) % 7", "ValueError"),
    "number in hex": ("", "len(hex(1 << 8 * 10**9))", "memory"),
    "left justified": ("", "len('x'.ljust(10**9))", "memory"),
    "zero filled": ("", "len('x'.zfill(10**9))", "memory"),
    "tabs expanded": ("", "len('\\t'.expandtabs(10**9))", "memory"),
    "replaced by more": ("", "len(('x' * 10**5).replace('x', 'y' * 10**5))", "memory"),
    "joined": ("", "len(('x' * 10**5).join(['y'] * 10**5))", "memory"),
    "width by a star": ("", "len('%*d' % (10**9, 1))", "memory"),
    "width by format": ("", "len('{:{}}'.format(1, 10**9))", "memory"),
    "precision": ("", "len('%.1000000000f' % 1.5)", "memory"),
    "bytes of a number": ("", "len((1).to_bytes(10**9, 'big'))", "memory"),
    "bytes by count": ("", "len(bytes(10**9))", "memory"),
    "translated": ("", "len(('a' * 10**5).translate({97: 'b' * 10**5}))", "memory"),
    "fractions": ("import fractions", "float(fractions.Fraction(3) ** 10**9 % 7)", "time"),
    "decimals": (
        "import decimal",
        "str(decimal.Context(prec=10**8, Emax=10**9).power(decimal.Decimal(3), 10**8))[:9]",
        "time",
    ),
    "greatest common divisor": ("import math", "math.gcd(3**(2 * 10**6), 7**(2 * 10**6))", "time"),
    "sum of a range": ("", "sum(range(10**12))", "time"),
    "membership in an iterator": ("import itertools", "-1 in itertools.count()", "time"),
    "find": (
        "",
        "('a' * 10**6 + 'b').count('a' * 500 + 'b' + 'a' * 500) + sum(('a' * 10**5).find('b' * n) for n in range(1, 10**5))",
        "time",
    ),
    "difference of texts": (
        "import difflib",
        "difflib.SequenceMatcher(None, 'ab' * 5_000, 'ba' * 5_000, False).ratio()",
        "time",
    ),
    "permutations": ("import itertools", "len(list(itertools.permutations(range(12))))", "memory"),
    "product": ("import itertools", "sum(1 for _ in itertools.product(range(100), repeat=5))", "time"),
    "sorted": ("", "sorted(range(10**8, 0, -1))[0]", "memory"),
}
for name, (statement, expression, ending) in _TEXT.items():
    digits(name, f"{statement}\n\n" + body(f"return {expression}"), bomb=ending)

# ------------------------------------------------------------------------------------------------------ ReDoS
redos = Family("ReDoS", SNIPPETS, bomb="time")
for name, expression in {
    "plus of plus": "re.match(r'(a+)+$', 'a' * 40 + 'b')",
    "alternation": "re.match(r'(a|aa)+$', 'a' * 60 + 'b')",
    "star of dots": "re.match(r'(.*)*(.*)*(.*)*x', 'a' * 40)",
    "many stars": "re.match('a*' * 30 + 'b', 'a' * 40)",
    "back reference": r"re.match(r'(a*)*\1$', 'a' * 40 + 'b')",
    "look ahead": "re.match(r'(?=(a+)+$)', 'a' * 40 + 'b')",
    "search": "re.search(r'(x+x+)+y', 'x' * 40)",
    "fullmatch": "re.fullmatch(r'([a-z]+)*', 'a' * 40 + '1')",
    "split": "re.split(r'(a+)+c', 'a' * 40)",
    "sub": "re.sub(r'(a+)+$', '', 'a' * 40 + 'b')",
    "findall": "re.findall(r'(a+)+$', 'a' * 40 + 'b')",
    "compiled": "re.compile(r'(a+)+$').match('a' * 40 + 'b')",
    "quadratic": r"re.sub(r'\s+$', '', ' ' * 10**5 + 'x')",
    "from the input": "re.match(input_data['p'], 'a' * 40 + 'b')",
}.items():
    redos(name, "import re\n\n" + body(f"return str({expression})"), input={"p": "(a+)+$"})
redos(
    "compilation",
    "import re\n\n" + body("return [str(re.compile('(a{1,99}|b)' * 3_000 + str(n)))[:9] for n in range(99)]"),
)
redos(
    "a class of many ranges",
    "import re\n\n" + body("return str(re.compile('|'.join('a%d' % n for n in range(300_000))))[:9]"),
)

# ------------------------------------------------------------------------------------------ swallowed timeouts
swallow = Family("swallowed timeouts", SNIPPETS, bomb="time")
swallow(
    "except everything",
    body("while True:\n    try:\n        while True:\n            pass\n    except:\n        pass"),
)
swallow(
    "except BaseException",
    body("while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"),
)
swallow(
    "except Exception",
    body("while True:\n    try:\n        while True:\n            pass\n    except Exception:\n        pass"),
)
swallow(
    "finally goes on",
    body("while True:\n    try:\n        while True:\n            pass\n    finally:\n        continue"),
)
swallow("finally loops", body("try:\n    while True:\n        pass\nfinally:\n    while True:\n        pass"))
swallow(
    "finally returns",
    body(
        "while True:\n    try:\n        [0 for _ in range(10**9)]\n    finally:\n        [0 for _ in range(10**9)]"
    ),
)
swallow(
    "except star",
    body("while True:\n    try:\n        while True:\n            pass\n    except* BaseException:\n        pass"),
)
swallow(
    "a context manager",
    "class M:\n    def __enter__(self):\n        pass\n    def __exit__(self, *args):\n        return True\n\n"
    + body("while True:\n    with M():\n        while True:\n            pass"),
)
swallow(
    "suppress",
    "import contextlib\n\n"
    + body("while True:\n    with contextlib.suppress(BaseException):\n        while True:\n            pass"),
)
swallow(
    "a finaliser",
    "class D:\n    def __del__(self):\n        while True:\n            pass\n\n" + body("D()\nreturn 0"),
)
swallow(
    "a generator that will not close",
    "def g():\n    while True:\n        try:\n            yield 0\n        finally:\n            while True:\n                pass\n\n"
    + body("next(g())\nreturn 0"),
)
swallow("a C loop: list", "import itertools\n\n" + body("return any(itertools.repeat(0))"))
swallow("a C loop: sum", "import itertools\n\n" + body("return sum(itertools.repeat(0))"))
swallow("a C loop: maximum", "import itertools\n\n" + body("return max(itertools.repeat(0))"))
swallow(
    "a C loop: deque",
    "import itertools, collections\n\n" + body("return collections.deque(itertools.repeat(0), maxlen=0)"),
)
swallow("a C loop: zip", "import itertools\n\n" + body("return all(zip(itertools.repeat(1)))"))
swallow("while it loads", "while True:\n    pass\n\n" + body("return 0"), at_load=True)
swallow(
    "while its answer is written",
    "class L(dict):\n    def items(self):\n        while True:\n            yield ('a', 1)\n\n"
    + body("return L(a=1)"),
    bomb="broken",
)
swallow(
    "in a repr",
    "class R:\n    def __repr__(self):\n        while True:\n            pass\n\n" + body("raise ValueError(R())"),
)
swallow(
    "in the text of an error",
    "class E(Exception):\n    def __str__(self):\n        while True:\n            pass\n\n" + body("raise E"),
)
swallow(
    "in a comparison",
    "class C:\n    def __eq__(self, other):\n        while True:\n            pass\n\n"
    + body("return C() in [0]"),
)
swallow(
    "in a hash",
    "class C:\n    def __hash__(self):\n        while True:\n            pass\n\n" + body("return {C(): 0}"),
)

# ------------------------------------------------------------------------------------------------ signal games
signals = Family("signal games", SNIPPETS, bomb="time")
_SIGNAL = "import os, signal, sys, time\n\n"
signals("alarm ignored", _SIGNAL + body("signal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True:\n    pass"))
signals("timers cleared", _SIGNAL + body("while True:\n    signal.setitimer(signal.ITIMER_REAL, 0)"))
signals(
    "all signals blocked",
    _SIGNAL + body("signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True:\n    pass"),
)
signals("pause", _SIGNAL + body("signal.pause()"))
signals("sleep", _SIGNAL + body("time.sleep(60)"))
signals("stops itself", _SIGNAL + body("os.kill(os.getpid(), signal.SIGSTOP)"))
signals("kills itself", _SIGNAL + body("os.kill(os.getpid(), signal.SIGKILL)"), bomb="memory")
signals("segfaults", _SIGNAL + body("os.kill(os.getpid(), signal.SIGSEGV)"), bomb="SIGSEGV")
signals("terminates its group", _SIGNAL + body("os.killpg(os.getpgid(0), signal.SIGTERM)"), bomb="SIGTERM")
signals("exit", body("raise SystemExit(0)"), bomb="SystemExit")
signals("exit by name", body("exit()"), bomb="SystemExit")
signals("interrupt", body("raise KeyboardInterrupt"), bomb="KeyboardInterrupt")
signals("generator exit", body("raise GeneratorExit"), bomb="GeneratorExit")
signals("a class of one's own", "class Stop(BaseException):\n    pass\n\n" + body("raise Stop"), bomb="Stop")
signals("hard exit", "import os\n\n" + body("os._exit(0)"), bomb="broken")
signals("abort", "import os\n\n" + body("os.abort()"), bomb="SIGABRT")
signals(
    "a thread that stays", "import threading\n\n" + body("lock = threading.Lock()\nlock.acquire()\nlock.acquire()")
)
signals(
    "a handler sees the frame",
    _SIGNAL
    + body(
        "seen = []\nsignal.signal(signal.SIGUSR1, lambda number, frame: seen.append(str(frame)))\nsignal.raise_signal(signal.SIGUSR1)\nreturn seen[0]"
    ),
    bomb=None,
    reached="<frame at",
)
signals(
    "a profiler sees the frame",
    "import sys\n\n"
    + body(
        "seen = []\nsys.setprofile(lambda frame, *rest: seen.append(str(frame)))\nlen('')\nsys.setprofile(None)\nreturn seen[0]"
    ),
    bomb=None,
    reached="<frame at",
)
signals(
    "reads standard input",
    "import sys\n\n" + body("return sys.stdin.buffer.raw.read(1) and input()"),
    bomb="broken",
)

# ------------------------------------------------------------------------------------------------ output bombs
output = Family("output bombs", SNIPPETS, bomb="output")
output("a long text", body("return 'x' * 5_000_000"))
output("a long list", body("return [0] * 2_000_000"))
output("escaped characters", body(r"return '\x00' * 1_000_000"))
output("wide characters", body(r"return '\U0001f600' * 1_000_000"))
output("keys", body("return {str(n): n for n in range(300_000)}"))
output("a billion laughs", body("x = 'ha'\nfor _ in range(40):\n    x = [x, x]\nreturn x"), bomb="broken")
output(
    "a billion laughs in a dictionary",
    body("x = 'ha'\nfor _ in range(40):\n    x = {'a': x, 'b': x}\nreturn x"),
    bomb="broken",
)
output("a shared text", body("return ['x' * 100_000] * 1_000"), bomb="broken")
output("printed without end", body("while True:\n    print('x' * 100)"), bomb="time")
output("a long number", body("return 10**5_000"), bomb="ValueError")
output("not a number", body("return float('nan')"), bomb="ValueError")
output("infinity", body("return [1e999]"), bomb="ValueError")
output("a lone surrogate", body(r"return '\ud800'"), bomb="UnicodeEncodeError")
output("an object", body("return object()"), bomb="TypeError")
output("a key that is a tuple", body("return {(1, 2): 3}"), bomb="TypeError")
output("a long error", body("raise ValueError('x' * 50_000_000)"), bomb="ValueError")
output(
    "an error's long name",
    "def run(input_data):\n    raise type('E' * 1_000_000, (ValueError,), {})",
    bomb="E" * 40,
)

# ------------------------------------------------------------------------------------------------ memory bombs
memory = Family("memory bombs", SNIPPETS, bomb="memory")
memory("a list", body("return len([0] * 10**9)"))
memory("a list that grows", body("x = []\nwhile True:\n    x.append('x' * 10**6 + str(len(x)))"))
memory("a list of all numbers", "import itertools\n\n" + body("return len(list(itertools.count()))"))
memory("a text that doubles", body("x = 'x'\nwhile True:\n    x += x"))
memory("a dictionary", body("return len({n: str(n) for n in range(10**8)})"))
memory("a set", body("return len(set(range(10**8)))"))
memory("a byte array", body("return len(bytearray(10**9))"))
memory(
    "swallowed",
    body(
        "x = []\nwhile True:\n    try:\n        x.append(bytearray(10**7))\n    except MemoryError:\n        x.append(0)"
    ),
    bomb="time",
)
memory(
    "an endless tuple", "def g():\n    while True:\n        yield 'x' * 10**6\n\n" + body("return len(tuple(g()))")
)
memory(
    "joined without end",
    "def g():\n    while True:\n        yield 'x' * 10**6\n\n" + body("return len(''.join(g()))"),
)
memory("tee", "import itertools\n\n" + body("a, b = itertools.tee(itertools.count())\nfor n in a:\n    pass"))
memory("unpacked", "import itertools\n\n" + body("a, *b = itertools.count()\nreturn a"))
memory("star arguments", "import itertools\n\n" + body("return max(*itertools.count())"))
memory("extended slice", body("x = [0]\nx[:] = [0] * 10**9\nreturn len(x)"))
memory("while it loads", "x = bytearray(10**9)\n\n" + body("return len(x)"), at_load=True)
memory("a matrix", body("return len([[0] * 10**4 for _ in range(10**5)])"))

# -------------------------------------------------------------------------------------------- hash collisions
hashes = Family("hash collisions", SNIPPETS, bomb="time")
_PRIME = "(2**61 - 1)"
hashes("integers in a dictionary", body(f"return len({{n * {_PRIME}: 0 for n in range(60_000)}})"))
hashes("integers in a set", body(f"return len(set(n * {_PRIME} for n in range(200_000)))"))
hashes(
    "integers in a counter",
    "import collections\n\n" + body(f"return len(collections.Counter(n * {_PRIME} for n in range(60_000)))"),
)
hashes(
    "fractions",
    "import fractions\n\n" + body(f"return len({{fractions.Fraction(n * {_PRIME}) for n in range(20_000)}})"),
)
hashes(
    "a class",
    "class K:\n    def __hash__(self):\n        return 1\n\n"
    + body("return len({K(): 0 for _ in range(30_000)})"),
)
hashes(
    "a class that compares",
    "class K:\n    def __hash__(self):\n        return 1\n    def __eq__(self, other):\n        return False\n\n"
    + body("return len({K() for _ in range(30_000)})"),
)
hashes("tuples", body(f"return len({{(n * {_PRIME},) for n in range(60_000)}})"))
hashes("removed duplicates", body(f"return len(list(dict.fromkeys(n * {_PRIME} for n in range(60_000))))"))
hashes(
    "union",
    body(
        f"a = {{n * {_PRIME} for n in range(40_000)}}\nreturn len(a | {{(n + 40_000) * {_PRIME} for n in range(40_000)}})"
    ),
)
hashes("from the input", body("return len({n * input_data['p'] for n in range(200_000)})"), input={"p": 2**61 - 1})
hashes(
    "cache",
    "import functools\n\n@functools.lru_cache(None)\ndef f(n):\n    return n\n\n"
    + body(f"return len([f(n * {_PRIME}) for n in range(60_000)])"),
)
