"""Imports by every road, re and callbacks, encoding cookies, identifiers in other scripts, state between calls."""

from __future__ import annotations

from tests.security.snippets import SECRET, Family, Snippet

SNIPPETS: list[Snippet] = []

OBJECTS = "_frozen_importlib"
GLOBALS = "'__builtins__'"

# ----------------------------------------------------------------------------------------------------- imports
imports = Family("imports", SNIPPETS)
_PATH = "input_data['canary']"
_ROADS = {
    # name: (statement, expression)
    "builtin open": ("", f"open({_PATH}).read()"),
    "io": ("import io", f"io.open({_PATH}).read()"),
    "os": ("import os", f"os.read(os.open({_PATH}, 0), 99).decode()"),
    "os under another name": ("import os as math", f"math.popen('cat ' + {_PATH}).read()"),
    "os.path's os": ("import os.path", f"os.path.os.popen('cat ' + {_PATH}).read()"),
    "posix": ("import posix", f"posix.read(posix.open({_PATH}, 0), 99).decode()"),
    "from os": ("from os import popen", f"popen('cat ' + {_PATH}).read()"),
    "everything of os": ("from os import *", f"popen('cat ' + {_PATH}).read()"),
    "everything of json": (
        "from json import *",
        f"JSONDecoder.decode.__globals__['__builtins__']['open']({_PATH}).read()",
    ),
    "second name of an allowed import": ("import math, os", f"os.popen('cat ' + {_PATH}).read()"),
    "__import__": ("", f"__import__('io').open({_PATH}).read()"),
    "__import__ with a list": ("", f"__import__('os.path', None, None, ['os']).os.popen('cat ' + {_PATH}).read()"),
    "importlib": ("import importlib", f"importlib.import_module('io').open({_PATH}).read()"),
    "importlib's loader": (
        "from importlib.machinery import SourceFileLoader as L",
        f"L('x', {_PATH}).get_data({_PATH}).decode()",
    ),
    "builtins": ("import builtins", f"builtins.open({_PATH}).read()"),
    "builtins by name": ("", f"__builtins__['open']({_PATH}).read()"),
    "builtins of a function": ("", f"run.__builtins__['open']({_PATH}).read()"),
    "eval": ("", f"eval('open')({_PATH}).read()"),
    "exec": ("", f"[exec('FOUND.append(open)'), FOUND[0]({_PATH}).read()][1]"),
    "compile": ("", f"eval(compile('open', '', 'eval'))({_PATH}).read()"),
    "json's codecs": ("import json", f"json.codecs.open({_PATH}).read()"),
    "json's decoder": ("import json", f"json.decoder.scanner.re.enum.bltns.open({_PATH}).read()"),
    "from json": ("from json import codecs", f"codecs.open({_PATH}).read()"),
    "from json.decoder": ("from json.decoder import re as found", f"found.enum.bltns.open({_PATH}).read()"),
    "a submodule imported": ("import json.tool", f"json.tool.sys.modules['io'].open({_PATH}).read()"),
    "re's enum": ("import re", f"re.enum.bltns.open({_PATH}).read()"),
    "re's copyreg": (
        "import re",
        f"re.copyreg._reconstructor.__globals__['__builtins__']['open']({_PATH}).read()",
    ),
    "from re import enum": ("from re import enum", f"enum.sys.modules['io'].open({_PATH}).read()"),
    "collections' sys": ("import collections", f"collections._sys.modules['io'].open({_PATH}).read()"),
    "random's os": ("import random", f"random._os.popen('cat ' + {_PATH}).read()"),
    "statistics' sys": ("import statistics", f"statistics.sys.modules['io'].open({_PATH}).read()"),
    "datetime's sys": ("import datetime", f"datetime.sys.modules['io'].open({_PATH}).read()"),
    "typing's sys": ("import typing", f"typing.sys.modules['io'].open({_PATH}).read()"),
    "dataclasses' sys": ("import dataclasses", f"dataclasses.sys.modules['io'].open({_PATH}).read()"),
    "functools' import": (
        "import functools",
        f"functools.recursive_repr.__globals__['__builtins__']['open']({_PATH}).read()",
    ),
    "textwrap's re": ("import textwrap", f"textwrap.re.enum.bltns.open({_PATH}).read()"),
    "string's re": ("import string", f"string._re.enum.bltns.open({_PATH}).read()"),
    "fractions' sys": ("import fractions", f"fractions.sys.modules['io'].open({_PATH}).read()"),
    "calendar": ("import calendar", f"calendar.sys.modules['io'].open({_PATH}).read()"),
    "html's re": ("import html", f"html._re.enum.bltns.open({_PATH}).read()"),
    "difflib": ("import difflib", f"difflib._namedtuple.__globals__['_sys'].modules['io'].open({_PATH}).read()"),
    "urllib": ("import urllib.request as r", f"r.urlopen('file://' + {_PATH}).read().decode()"),
    "pathlib": ("from pathlib import Path", f"Path({_PATH}).read_text()"),
    "subprocess": ("import subprocess", f"subprocess.check_output(['cat', {_PATH}]).decode()"),
    "codecs": ("import codecs", f"codecs.open({_PATH}).read()"),
    "linecache": ("import linecache", f"linecache.getline({_PATH}, 1)"),
    "fileinput": ("import fileinput", f"''.join(fileinput.input({_PATH}))"),
    "tokenize": ("import tokenize", f"tokenize.open({_PATH}).read()"),
    "runpy": ("import runpy", f"runpy.run_module('io')['open']({_PATH}).read()"),
    "pkgutil": ("import pkgutil", f"pkgutil.resolve_name('io:open')({_PATH}).read()"),
    "pickle": ("import pickle", f"pickle.loads(b'cio\\nopen\\n.')({_PATH}).read()"),
    "shelve's builtins": ("import shelve", f"shelve.__builtins__['open']({_PATH}).read()"),
    "ctypes": (
        "import ctypes",
        f"[libc := ctypes.CDLL(None), b := ctypes.create_string_buffer(99), libc.read(libc.open({_PATH}.encode(), 0), b, 99), b.value.decode()][-1]",
    ),
    "shutil": (
        "import shutil, io",
        f"(lambda b: [shutil.copyfileobj(io.open({_PATH}), b), b.getvalue()][1])(io.StringIO())",
    ),
    "the running module": ("import sys", f"sys.modules['io'].open({_PATH}).read()"),
    "this package": ("import enum as loopai", f"loopai.bltns.open({_PATH}).read()"),
    "codecs registered by name": ("", f"__import__('encodings').codecs.open({_PATH}).read()"),
    "site's printer": (
        "",
        f"[license._Printer__setup() for license._Printer__lines in [None] for license._Printer__filenames in [[{_PATH}]]] and license._Printer__lines[0]",
    ),
}
for name, (statement, expression) in _ROADS.items():
    imports(name, f"{statement}\nFOUND = []\n\ndef run(input_data):\n    return {expression}")
    if name in {"os", "io", "__import__", "builtin open"}:
        imports(f"{name}, inside run", f"def run(input_data):\n    {statement or 'pass'}\n    return {expression}")
imports(
    "tried until one is there",
    "def run(input_data):\n    for name in ['posixpath', 'io']:\n        try:\n            return __import__(name).open(input_data['canary']).read()\n        except Exception:\n            pass",
)
imports("relative", "from . import os\n\ndef run(input_data):\n    pass\n", bomb="ImportError")
imports(
    "writes the canary",
    "def run(input_data):\n    with open(input_data['canary'], 'w') as file:\n        file.write('gone')",
)
imports(
    "forks a writer",
    "import os\n\ndef run(input_data):\n    if os.fork() == 0:\n        open(input_data['canary'], 'w').write('gone')\n        os._exit(0)\n    os.wait()",
)
imports(
    "starts a thread",
    "import threading\n\ndef run(input_data):\n    t = threading.Thread(target=lambda: open(input_data['canary'], 'w').write('gone'))\n    t.start()\n    t.join()",
)
imports(
    "__import__ by a subscript",
    "def run(input_data):\n    return vars(__builtins__)['open'](input_data['canary']).read() if not isinstance(__builtins__, dict) else __builtins__['open'](input_data['canary']).read()",
)
imports(
    "open's name through print's file",
    "def run(input_data):\n    print('gone', file=open(input_data['canary'], 'w'), flush=True)",
)
imports(
    "breakpoint",
    "import sys\n\ndef run(input_data):\n    sys.breakpointhook = open\n    return breakpoint(input_data['canary']).read()",
)

# -------------------------------------------------------------------------------------------- re and callbacks
regex = Family("re and callbacks", SNIPPETS)
_RE = "import re\n\ndef run(input_data):\n    return "
regex("sub evaluates", _RE + "re.sub('.+', lambda m: eval(m[0])(input_data['canary']).read(), 'open')")
regex("sub calls a builtin", _RE + "re.sub('.+', lambda m: open(m[0]).read(), input_data['canary'])")
regex("a pattern's class", _RE + "str(re.compile('a').__class__.__base__.__subclasses__())", reached=OBJECTS)
regex("a match's pattern", _RE + "str(type(re.match('a', 'a').re).mro()[1].__subclasses__())", reached=OBJECTS)
regex(
    "the compiler",
    _RE + "re._compiler._parser.parse.__globals__ and re.enum.bltns.open(input_data['canary']).read()",
)
regex(
    "the parser's globals",
    _RE + "re._parser.parse.__globals__['__builtins__']['open'](input_data['canary']).read()",
)
regex("compile's globals", _RE + "str(re.compile.__globals__)", reached=GLOBALS)
regex("the cache", _RE + "str([re.sub('a', 'b', 'a'), re._cache, re.purge.__globals__])", reached=GLOBALS)
regex("a flag's class", _RE + "str(re.I.__class__.__mro__[-1].__subclasses__())", reached=OBJECTS)
regex("a flag's metaclass", _RE + "str(type(type(re.I)).mro(type(re.I))[-1].__subclasses__())", reached=OBJECTS)
regex(
    "the scanner class", _RE + "re.Scanner.scan.__globals__['__builtins__']['open'](input_data['canary']).read()"
)
regex(
    "the scanner calls back with itself",
    _RE + "str(re.Scanner([('a', lambda scanner, text: scanner.__class__.scan.__globals__)]).scan('a')[0])",
    reached=GLOBALS,
)
regex(
    "a template with a group that is an attribute",
    _RE + "'{0.re.__class__.__base__}'.format(re.match('a', 'a'))",
    reached="<class 'object'>",
)
regex(
    "reduce of a pattern",
    _RE + "re.copyreg.dispatch_table[re.Pattern].__globals__['__builtins__']['open'](input_data['canary']).read()",
)
regex(
    "bound sub",
    "import re\n\ndef run(input_data):\n    f = re.compile('.+').sub\n    return f(lambda m: f.__self__.__class__.__base__.__subclasses__().__repr__(), 'a')",
    reached=OBJECTS,
)
regex(
    "sorted by eval",
    "def run(input_data):\n    return max(['open(' + repr(input_data['canary']) + ').read()'], key=lambda t: 0) and list(map(eval, ['open(' + repr(input_data['canary']) + ').read()']))[0]",
)
regex(
    "filter by exec",
    "def run(input_data):\n    list(filter(exec, ['open(' + repr(input_data['canary']) + ', \"w\").write(\"gone\")']))",
)
regex(
    "iter with a sentinel",
    "def run(input_data):\n    return next(iter(lambda: open(input_data['canary']).read(), None))",
)
regex(
    "defaultdict's factory",
    "import collections\n\ndef run(input_data):\n    return collections.defaultdict(lambda: open(input_data['canary']).read())['x']",
)
regex(
    "json's object hook",
    "import json\n\ndef run(input_data):\n    return json.loads('{\"f\": \"open\"}', object_hook=lambda d: eval(d['f'])(input_data['canary']).read())",
)
regex(
    "json's default",
    "import json\n\ndef run(input_data):\n    return json.dumps([run], default=lambda f: str(f.__globals__))",
    reached=GLOBALS,
)
regex(
    "json's class",
    "import json\n\nclass E(json.JSONEncoder):\n    def default(self, o):\n        return str(self.encode.__func__.__globals__)\n\ndef run(input_data):\n    return json.dumps(run, cls=E)",
    reached=GLOBALS,
)
regex(
    "comparison by key",
    "import functools\n\ndef run(input_data):\n    seen = []\n    sorted([1, 2], key=functools.cmp_to_key(lambda a, b: seen.append(open(input_data['canary']).read()) or 0))\n    return seen[0]",
)

# -------------------------------------------------------------------------------------------- encoding cookies
cookies = Family("encoding cookies", SNIPPETS)
_OPEN = "def run(input_data):\n    return open(input_data['canary']).read()"
_HARMLESS = "def run(input_data):\n    return found(input_data)\n"
for name, source in {
    "utf-7 opens a line in a comment": "# coding: utf-7\n# +AAo-found = lambda d: open(d['canary']).read()\n"
    + _HARMLESS,
    "unicode_escape opens a line": "# coding: unicode_escape\n# \\u000afound = lambda d: open(d['canary']).read()\n"
    + _HARMLESS,
    "raw_unicode_escape opens a line": "# coding: raw_unicode_escape\n# \\u000afound = lambda d: open(d['canary']).read()\n"
    + _HARMLESS,
    "utf-7 closes a string": "# -*- coding: utf-7 -*-\ntext = '+ACc-; found = lambda d: open(d[\"canary\"]).read()#'\n"
    + _HARMLESS,
    "on the second line": "#!/usr/bin/env python3\n# vim: set fileencoding=utf-7 :\n# +AAo-found = lambda d: open(d['canary']).read()\n"
    + _HARMLESS,
    "latin-1": "# coding: latin-1\n" + _OPEN,
    "utf-8 with a signature": "\ufeff# coding: utf-8\n" + _OPEN,
    "carriage return ends a comment": "# a comment\rfound = lambda d: open(d['canary']).read()\n" + _HARMLESS,
    "form feed": "\x0cfound = lambda d: open(d['canary']).read()\n" + _HARMLESS,
    "continued line": "# a comment \\\nfound = lambda d: \\\nopen(d['canary']).read()\n" + _HARMLESS,
    "iso2022": "# coding: iso2022_jp\n" + _OPEN,
    "cp037-like escape": "# coding: hz\n" + _OPEN,
}.items():
    cookies(name, source)

# ----------------------------------------------------------------------------------------- unicode identifiers
unicode = Family("unicode identifiers", SNIPPETS)
_SUBS = "    return str({}.__subclasses__())"
for name, expression in {
    "fullwidth letters in a dunder": "str(().__ｃlass__.__ｂase__.__ｓubclasses__())",
    "italic letters in a dunder": "str(().__𝘤𝘭𝘢𝘴𝘴__.__𝘣𝘢𝘴𝘦__.__𝘴𝘶𝘣𝘤𝘭𝘢𝘴𝘴𝘦𝘴__())",
    "fullwidth low line": "str(()._＿class_＿._＿base_＿._＿subclasses_＿())",
    "dashed low line": "str(()._﹍class﹍_._﹎base﹎_._﹏subclasses﹏_())",
    "presentation form of a low line": "str(()._︳class︴_._︳base︳_._︴subclasses︳_())",
    "ligature in an attribute": "str((x for x in ()).gi_𝐟rame.f_builtins['object'].__sub𝒸lasses__())",
    "one letter of a method": "str(type.__ｓubclasses__(object))",
}.items():
    unicode(name, f"def run(input_data):\n    return {expression}", reached=OBJECTS)
unicode("fullwidth open", "def run(input_data):\n    return ｏｐｅｎ(input_data['canary']).read()")
unicode("script eval", "def run(input_data):\n    return 𝓮𝓿𝓪𝓵('open')(input_data['canary']).read()")
unicode(
    "import by italic letters",
    "import 𝘪𝘰\n\ndef run(input_data):\n    return 𝘪𝘰.open(input_data['canary']).read()",
)
unicode(
    "import under a look-alike",
    "import io as ｍath\n\ndef run(input_data):\n    return math.open(input_data['canary']).read()",
)
unicode(
    "guard in another script",
    "_ｇetattr_ = getattr\n\ndef run(input_data):\n    return '{0.__globals__}'.format(run)",
    reached=GLOBALS,
)
unicode(
    "builtins in another script",
    "def run(input_data):\n    return __ｂuiltins__['open'](input_data['canary']).read()",
)
unicode(
    "keyword argument",
    "def take(*, _getattr_=None, **rest):\n    return '{0.__globals__}'.format(run)\n\ndef run(input_data):\n    return take(_ｇetattr_=getattr)",
    reached=GLOBALS,
)
unicode(
    "class pattern",
    "def run(input_data):\n    match ():\n        case object(__ｃlass__=kind):\n            return str(kind.__base__.__subclasses__())",
    reached=OBJECTS,
)
unicode(
    "global statement",
    "def run(input_data):\n    global _ｇetattr_\n    _getattr_ = getattr\n    return '{0.__globals__}'.format(run)",
    reached=GLOBALS,
)
unicode(
    "del of a builtin",
    "def run(input_data):\n    ｇlobals()['x'] = type.__subclasses__(object)\n    return str(x)",
    reached=OBJECTS,
)
unicode(
    "import from in another script",
    "from json import ｃodecs\n\ndef run(input_data):\n    return codecs.open(input_data['canary']).read()",
)
unicode("format field", "def run(input_data):\n    return '{f.__globals__}'.format(ｆ=run)", reached=GLOBALS)

# --------------------------------------------------------------------------------------- state between calls
state = Family("cross-request state", SNIPPETS, reached=SECRET, first={"secret": SECRET})


def leave(name: str, before: str, keep: str, find: str, **fields: str) -> None:
    """A program whose first call keeps the secret somewhere and whose second finds it."""
    body = f"def run(input_data):\n    if 'secret' in input_data:\n        {keep}\n        return 0\n    return {find}"
    state(name, f"{before}\n\n{body}", **fields)


leave("a global list", "SEEN = []", "SEEN.append(input_data['secret'])", "SEEN")
leave("a global name", "SEEN = 0", "global SEEN; SEEN = input_data['secret']", "SEEN")
leave("a new global name", "", "global SEEN; SEEN = input_data['secret']", "SEEN")
leave(
    "a default argument",
    "def keep(x, seen=[]):\n    seen.append(x)\n    return seen",
    "keep(input_data['secret'])",
    "keep(0)",
)
leave(
    "a keyword default",
    "def keep(x, *, seen={}):\n    seen[x] = 1\n    return list(seen)",
    "keep(input_data['secret'])",
    "keep('')",
)
leave("a class attribute", "class A:\n    seen = ''", "A.seen = input_data['secret']", "A.seen")
leave("a list in a class", "class A:\n    seen = []", "A.seen.append(input_data['secret'])", "A.seen")
leave(
    "an instance", "class A:\n    pass\n\nONE = A()\nONE.seen = ''", "ONE.seen = input_data['secret']", "ONE.seen"
)
leave("a function's attribute", "def f():\n    pass\n\nf.seen = ''", "f.seen = input_data['secret']", "f.seen")
leave(
    "a closure",
    "def make():\n    seen = ''\n    def swap(x=None):\n        nonlocal seen\n        seen, old = x, seen\n        return old\n    return swap\n\nSWAP = make()",
    "SWAP(input_data['secret'])",
    "SWAP()",
)
leave(
    "a generator keeps a list",
    "def make():\n    seen = []\n    while True:\n        seen.append((yield seen))\n\nG = make()\nnext(G)",
    "G.send(input_data['secret'])",
    "G.send('')",
)
leave(
    "a cached list",
    "import functools\n\n@functools.lru_cache\ndef box():\n    return []",
    "box().append(input_data['secret'])",
    "box()",
)
leave(
    "a cached property",
    "import functools\n\nclass A:\n    @functools.cached_property\n    def box(self):\n        return []\n\nONE = A()",
    "ONE.box.append(input_data['secret'])",
    "ONE.box",
)
leave("a global dictionary updated", "SEEN = {}", "SEEN.update(a=input_data['secret'])", "SEEN")
leave("a global dictionary by or", "SEEN = {}", "SEEN.__ior__({'a': input_data['secret']})", "SEEN")
leave("a global set", "SEEN = set()", "SEEN.add(input_data['secret'])", "list(SEEN)")
leave("a list inside a tuple", "SEEN = ([],)", "SEEN[0].append(input_data['secret'])", "SEEN")
leave(
    "a deque",
    "from collections import deque\n\nSEEN = deque(maxlen=1)",
    "SEEN.append(input_data['secret'])",
    "list(SEEN)",
)
leave(
    "a counter",
    "from collections import Counter\n\nSEEN = Counter()",
    "SEEN.update([input_data['secret']])",
    "list(SEEN)",
)
leave(
    "a default dictionary",
    "from collections import defaultdict\n\nSEEN = defaultdict(list)",
    "SEEN['a'].append(input_data['secret'])",
    "SEEN['a']",
)
leave(
    "an iterator",
    "import itertools\n\nBOX = [[]]\nIT = itertools.cycle(BOX)",
    "next(IT).append(input_data['secret'])",
    "next(IT)",
)
leave("a bound method", "SEEN = []\nADD = SEEN.append", "ADD(input_data['secret'])", "SEEN")
leave(
    "a slot",
    "class A:\n    __slots__ = ('seen',)\n\nONE = A()\nONE.seen = ''",
    "ONE.seen = input_data['secret']",
    "ONE.seen",
)
leave(
    "a partial's argument",
    "import functools\n\nBOX = []\nADD = functools.partial(BOX.append)",
    "ADD(input_data['secret'])",
    "BOX",
)
leave("a list sorted in place", "SEEN = ['', '']", "SEEN[0] = input_data['secret']", "SEEN")
leave("a bytearray", "SEEN = bytearray()", "SEEN.extend(input_data['secret'].encode())", "SEEN.decode()")
leave("an exception kept", "ERROR = ValueError()", "ERROR.args = (input_data['secret'],)", "str(ERROR)")
leave(
    "a match object",
    "import re\n\nSEEN = [None]",
    "SEEN[0] = re.match('.*', input_data['secret'])",
    "SEEN[0] and SEEN[0].group()",
)
leave("a heap", "import heapq\n\nSEEN = []", "heapq.heappush(SEEN, input_data['secret'])", "SEEN")
leave(
    "a user list",
    "from collections import UserList\n\nSEEN = UserList()",
    "SEEN.append(input_data['secret'])",
    "list(SEEN)",
)
leave(
    "a chain map",
    "from collections import ChainMap\n\nSEEN = ChainMap({})",
    "SEEN['a'] = input_data['secret']",
    "dict(SEEN)",
)
leave(
    "an ordered dictionary",
    "from collections import OrderedDict\n\nSEEN = OrderedDict()",
    "SEEN['a'] = input_data['secret']",
    "dict(SEEN)",
)
leave(
    "a data class",
    "from dataclasses import make_dataclass\n\nONE = make_dataclass('A', ['seen'], namespace={'__module__': 'builtins'})('')",
    "ONE.seen = input_data['secret']",
    "ONE.seen",
)
leave(
    "an enum's member",
    "import enum\n\nclass A(enum.Enum):\n    ONE = 1",
    "A.ONE.seen = input_data['secret']",
    "A.ONE.seen",
)
_READ = "def run(input_data):\n    return {}\n"
leave("a module's attribute", "import math", "math.pi = input_data['secret']", "math.pi")
leave(
    "a module's new attribute, read by another program",
    "import math",
    "math.seen = input_data['secret']",
    "0",
    then="import math\n\n" + _READ.format("math.seen"),
)
leave(
    "a module's attribute by setattr, read by another program",
    "import json",
    "setattr(json, 'seen', input_data['secret'])",
    "0",
    then="import json\n\n" + _READ.format("json.seen"),
)
leave(
    "a module's constant, read by another program",
    "import string",
    "string.digits = input_data['secret']",
    "0",
    then="import string\n\n" + _READ.format("string.digits"),
)
leave(
    "a class of a module, read by another program",
    "from collections import Counter",
    "Counter.seen = input_data['secret']",
    "0",
    then="from collections import Counter\n\n" + _READ.format("Counter.seen"),
)
leave(
    "a module's function's attribute, read by another program",
    "import json",
    "json.dumps.seen = input_data['secret']",
    "0",
    then="import json\n\n" + _READ.format("json.dumps.seen"),
)
leave(
    "a module's list, read by another program",
    "import calendar",
    "calendar.mdays.append(input_data['secret'])",
    "0",
    then="import calendar\n\n" + _READ.format("calendar.mdays"),
)
leave(
    "a builtin replaced, read by another program",
    "import builtins",
    "builtins.seen = input_data['secret']",
    "0",
    then=_READ.format("seen"),
)
leave(
    "json's encoder, read by another program",
    "import json",
    "json.encoder.ESCAPE_DCT['a'] = input_data['secret']",
    "0",
    then="import json\n\n" + _READ.format("list(json.encoder.ESCAPE_DCT.values())"),
)
leave(
    "the decimal context, read by another program",
    "import decimal",
    "decimal.getcontext().prec = 7 + len(input_data['secret'])",
    "0",
    then="import decimal\n\n"
    + _READ.format("'left-behind' + '-by-the-call-before' if decimal.getcontext().prec > 30 else ''"),
)
leave(
    "the random state, read by another program",
    "import random",
    "random.seed(input_data['secret'])",
    "0",
    then="import random\n\n"
    + _READ.format(
        "'left-behind' + '-by-the-call-before' if random.random() == random.Random('left-' + 'behind-by-the-call-before').random() else ''"
    ),
)
leave(
    "an abstract class's registry, read by another program",
    "from collections.abc import Sized\n\nclass A:\n    pass",
    "Sized.register(A); A.__name__ = input_data['secret']",
    "0",
    then="from collections.abc import Sized\n\n"
    + _READ.format("str([k.__name__ for k in object.__subclasses__()])"),
)
state(
    "a dictionary handed to an operator of one's own class",
    """
import collections

SEEN = {}

def run(input_data):
    def take(self, other):
        other['secret'] = input_data['secret']
        return 0
    if 'secret' in input_data:
        return SEEN | collections.Counter.copy(int)('X', (), {'__ror__': take})()
    return str(SEEN)
""",
    found=True,
)
for name, expression, then in [
    ("what typing keeps in its brackets", "typing.Dict[0, True]", "typing.Dict[0, 1]"),
    (
        "what typing keeps in a union",
        "typing.Optional[typing.Dict[3, True]]",
        "typing.Optional[typing.Dict[3, 1]]",
    ),
    ("what typing keeps in a tuple", "typing.Tuple[-0.0, 7]", "typing.Tuple[0.0, 7]"),
]:
    state(
        f"{name}, read by another program",
        f"import typing\n\ndef run(input_data):\n    {expression}",
        then=f"import typing\n\ndef run(input_data):\n    told = str({then})\n"
        "    return '-'.join(['left', 'behind', 'by', 'the', 'call', 'before']) if 'True' in told or '-0.0' in told else told",
        found=True,
    )
state(
    "a type's subclass list, read by another program",
    "def run(input_data):\n    KEEP.append(type(input_data['secret'], (ValueError,), {}))\n\nKEEP = []",
    then=_READ.format("str(ValueError.__subclasses__())"),
)
state(
    "the garbage collector's list, read by another program",
    "def run(input_data):\n    KEEP.append([[], input_data])\n    return 0\n\nKEEP = []",
    then="import gc\n\n"
    + _READ.format(
        "[v for o in gc.get_objects() if type(o) is list for v in o if type(v) is dict and 'secret' in v][:1]"
    ),
)
