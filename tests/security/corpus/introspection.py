"""Format strings, frames, tracebacks, exception groups, attributes of exceptions."""

from __future__ import annotations

from tests.security.snippets import CANARY, Family, Snippet

SNIPPETS: list[Snippet] = []

OBJECTS = "_frozen_importlib"
FRAME = "<frame at"
GLOBALS = "'__builtins__'"
BASE = "<class 'object'>"

# --------------------------------------------------------------------------------------------- format strings
form = Family("format strings", SNIPPETS, reached=GLOBALS)
_FORMATS = {
    "format": "'{0.__globals__}'.format(run)",
    "keyword": "'{f.__globals__}'.format(f=run)",
    "format_map": "'{f.__globals__}'.format_map({'f': run})",
    "item, then attribute": "'{0[f].__globals__}'.format({'f': run})",
    "class of str": "str.format('{0.__globals__}', run)",
    "class of the string": "type('').format('{0.__globals__}', run)",
    "bound method kept": "[f for f in ['{0.__globals__}'.format]][0](run)",
    "mapped": "list(map('{0.__globals__}'.format, [run]))[0]",
    "getattr": "getattr('{0.__globals__}', 'format')(run)",
    "getattr with a default": "getattr('{f.__globals__}', 'format_map', None)({'f': run})",
    "nested in a format spec": "'{0:{1.__globals__}}'.format(Spec(), run)",
    "joined": "('{0.__glo' + 'bals__}').format(run)",
    "escaped": r"'\x7b0.\x5f_globals_\x5f\x7d'.format(run)",
    "conversion": "'{0.__globals__!r:.100000}'.format(run)",
    "f-string": "f'{run.__globals__}'",
    "f-string debug": "f'{run.__globals__=}'",
    "f-string's nested spec": "f'{Spec():{run.__globals__}}'",
    "sorted by format": "sorted([run], key=lambda f: SEEN.append('{0.__globals__}'.format(f)) or 0) and SEEN[0]",
    "maximum by format": "max(['{0.__globals__}'], key=lambda t: 0).format(run)",
}
_SPEC = "SEEN = []\n\nclass Spec:\n    def __format__(self, spec):\n        return spec\n\n"
for name, expression in _FORMATS.items():
    form(name, f"{_SPEC}def run(input_data):\n    return {expression}")
form(
    "string.Formatter",
    "import string\n\ndef run(input_data):\n    return string.Formatter().format('{0.__globals__}', run)",
)
form(
    "string.Formatter's vformat",
    "from string import Formatter as F\n\ndef run(input_data):\n    return F().vformat('{0.__globals__}', [run], {})",
)
form(
    "string.Formatter's get_field",
    "import string\n\ndef run(input_data):\n    return str(string.Formatter().get_field('0.__globals__', [run], {})[0])",
)
form(
    "subclass of string.Formatter",
    """
import string

class Mine(string.Formatter):
    def get_value(self, key, args, kwargs):
        return run

def run(input_data):
    return Mine().format('{0.__globals__}')
""",
)
form(
    "partial of str.format",
    "import functools\n\ndef run(input_data):\n    return functools.partial(str.format, '{0.__globals__}')(run)",
)
form(
    "methodcaller",
    "import operator\n\ndef run(input_data):\n    return operator.methodcaller('format', run)('{0.__globals__}')",
)
form(
    "attrgetter",
    "import operator\n\ndef run(input_data):\n    return operator.attrgetter('format')('{0.__globals__}')(run)",
)
form(
    "reduce",
    "import functools\n\ndef run(input_data):\n    return functools.reduce(str.format, ['{0.__globals__}', run])",
)
form(
    "starmap",
    "import itertools\n\ndef run(input_data):\n    return list(itertools.starmap(str.format, [('{0.__globals__}', run)]))[0]",
)
form(
    "string subclass",
    "class S(str):\n    def go(self, x):\n        return super().format(x)\n\ndef run(input_data):\n    return S('{0.__globals__}').go(run)",
)
form(
    "user string",
    "from collections import UserString\n\ndef run(input_data):\n    return UserString('{0.__globals__}').format(run)",
)
form(
    "the text comes with the input",
    "def run(input_data):\n    return input_data['text'].format(run)",
    input={"text": "{0.__globals__}"},
)
form("mro of a class", "def run(input_data):\n    return '{0.__class__.__mro__}'.format(())", reached=BASE)
form(
    "regex match's pattern class",
    "import re\n\ndef run(input_data):\n    return '{0.re.__class__.__mro__}'.format(re.match('a', 'a'))",
    reached=BASE,
)
form(
    "logging in brace style",
    "import logging\n\ndef run(input_data):\n    return logging.Formatter('{msg.__globals__}', style='{').formatMessage(logging.makeLogRecord({'msg': run, 'message': run}))",
)
form(
    "a date's format",
    "import datetime\n\ndef run(input_data):\n    return '{0.strftime.__self__.__class__.__mro__}'.format(datetime.date(2020, 1, 1))",
    reached=BASE,
)
form(
    "exception's text",
    "def run(input_data):\n    try:\n        raise ValueError('{0.__globals__}')\n    except ValueError as error:\n        return error.args[0].format(run)",
)

# ------------------------------------------------------------------------------------------------------ frames
frames = Family("frames", SNIPPETS, reached=FRAME)
frames("of a generator", "def g():\n    yield\n\ndef run(input_data):\n    return str(g().gi_frame)")
frames(
    "of a generator by getattr",
    "def g():\n    yield\n\ndef run(input_data):\n    return str(getattr(g(), 'gi_' + 'frame'))",
)
frames(
    "of a generator by attrgetter",
    "import operator\n\ndef run(input_data):\n    return str(operator.attrgetter('gi_frame')(x for x in ()))",
)
frames("of a generator by format", "def run(input_data):\n    return '{0.gi_frame}'.format(x for x in ())")
frames(
    "of a generator by format_map",
    "def run(input_data):\n    return '{g.gi_frame.f_code}'.format_map({'g': (x for x in ())})",
    reached="<code object",
)
frames(
    "of a coroutine",
    "async def c():\n    pass\n\ndef run(input_data):\n    k = c()\n    text = str(k.cr_frame)\n    k.close()\n    return text",
)
frames("of an async generator", "async def c():\n    yield\n\ndef run(input_data):\n    return str(c().ag_frame)")
frames(
    "of a coroutine function",
    "import types\n\n@types.coroutine\ndef c():\n    yield\n\ndef run(input_data):\n    return str(c().gi_frame)",
)
frames(
    "back to the caller",
    """
def run(input_data):
    g = (g.gi_frame.f_back.f_back for _ in [1])
    for frame in g:
        return frame.f_builtins['open'](input_data['canary']).read()
""",
    reached=CANARY,
)
frames(
    "builtins through f_globals",
    """
def g():
    yield

def run(input_data):
    found = g().gi_frame.f_globals['__builtins__']
    return found['open'](input_data['canary']).read()
""",
    reached=CANARY,
)
frames(
    "code of a generator", "def run(input_data):\n    return str((x for x in ()).gi_code)", reached="<code object"
)
frames(
    "yield from of a generator",
    "def a():\n    yield\n\ndef b():\n    yield from a()\n\ndef run(input_data):\n    g = b()\n    next(g)\n    return str(g.gi_yieldfrom.gi_frame)",
)
frames("getframe", "import sys\n\ndef run(input_data):\n    return str(sys._getframe())")
frames("currentframe", "import inspect\n\ndef run(input_data):\n    return str(inspect.currentframe())")
frames(
    "trace function",
    "import sys\n\ndef run(input_data):\n    seen = []\n    sys.settrace(lambda frame, *rest: seen.append(str(frame)))\n    (lambda: 0)()\n    sys.settrace(None)\n    return seen[0]",
)
frames(
    "thrown into a generator",
    "def g():\n    try:\n        yield\n    except ValueError as error:\n        yield error.__traceback__.tb_frame\n\ndef run(input_data):\n    it = g()\n    next(it)\n    return str(it.throw(ValueError))",
)
frames("globals", "def run(input_data):\n    return str(globals())", reached=GLOBALS)
frames("locals at the top", "here = locals()\n\ndef run(input_data):\n    return str(here)", reached=GLOBALS)
frames(
    "locals in a class body",
    "class A:\n    here = vars()\n\ndef run(input_data):\n    return str(A.here['__module__']) + str(run.__globals__)",
    reached=GLOBALS,
)
frames(
    "names of the module",
    "def run(input_data):\n    return [str(globals()[name]) for name in list(globals())]",
    reached="<built-in function open>",
)

# -------------------------------------------------------------------------------------------------- tracebacks
trace = Family("tracebacks", SNIPPETS, reached=FRAME)
_CAUGHT = (
    "def run(input_data):\n    try:\n        1 / 0\n    except ZeroDivisionError as error:\n        return str({})"
)
for name, expression in {
    "of an exception": "error.__traceback__.tb_frame",
    "by getattr": "getattr(getattr(error, '__traceback__'), 'tb_frame')",
    "by format": "'{0.__traceback__.tb_frame}'.format(error)",
    "after with_traceback": "error.with_traceback(error.__traceback__).__traceback__.tb_frame",
    "by its fields": "[getattr(getattr(error, n), 'tb_frame') for n in dir(error) if n == '__traceback__'][0]",
}.items():
    trace(name, _CAUGHT.format(expression))
trace(
    "given to a context manager",
    """
class Manager:
    def __enter__(self):
        return self
    def __exit__(self, kind, error, tb):
        self.tb = tb
        return True

def run(input_data):
    manager = Manager()
    with manager:
        1 / 0
    return str(manager.tb.tb_frame)
""",
)
trace(
    "given to a generator's context manager",
    """
from contextlib import contextmanager

SEEN = []

@contextmanager
def manager():
    try:
        yield
    except ZeroDivisionError as error:
        SEEN.append(error.__traceback__.tb_next.tb_frame)

def run(input_data):
    with manager():
        1 / 0
    return str(SEEN[0])
""",
)
trace(
    "given to an exit stack",
    """
import contextlib

def run(input_data):
    seen = []
    with contextlib.ExitStack() as stack:
        stack.push(lambda kind, error, tb: seen.append(tb) or True)
        1 / 0
    return str(seen[0].tb_frame)
""",
)
trace(
    "exc_info",
    "import sys\n\ndef run(input_data):\n    try:\n        1 / 0\n    except ZeroDivisionError:\n        return str(sys.exc_info()[2].tb_frame)",
)
trace(
    "traceback module",
    "import traceback\n\ndef run(input_data):\n    try:\n        1 / 0\n    except ZeroDivisionError as error:\n        return str([f for f, _ in traceback.walk_tb(error.__traceback__)])",
)
trace(
    "context of an exception",
    """
def run(input_data):
    try:
        try:
            1 / 0
        finally:
            [][0]
    except IndexError as error:
        return str(error.__context__.__traceback__.tb_frame)
""",
)
trace(
    "cause of an exception",
    """
def run(input_data):
    try:
        try:
            1 / 0
        except ZeroDivisionError as inner:
            raise ValueError from inner
    except ValueError as error:
        return str(error.__cause__.__traceback__.tb_frame)
""",
)
trace(
    "setter of an exception class",
    """
class Mine(Exception):
    def with_traceback(self, tb):
        SEEN.append(tb)
        return self

SEEN = []

def run(input_data):
    try:
        raise Mine
    except Mine as error:
        error.with_traceback(error.__traceback__)
    return str(SEEN[0].tb_frame)
""",
)
trace(
    "a future keeps it",
    """
from concurrent.futures import ThreadPoolExecutor

def run(input_data):
    with ThreadPoolExecutor(1) as pool:
        return str(pool.submit(lambda: 1 / 0).exception().__traceback__.tb_frame)
""",
)
trace(
    "raised by a callback of sorted",
    """
def run(input_data):
    def key(x):
        raise ValueError
    try:
        sorted([1], key=key)
    except Exception as error:
        found = error.__traceback__
        while found.tb_next:
            found = found.tb_next
        return str(found.tb_frame.f_back)
""",
)

# -------------------------------------------------------------------------------------------- exception groups
groups = Family("exception groups", SNIPPETS, reached=FRAME)
_GROUP = """
def run(input_data):
    try:
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise ExceptionGroup('g', [error])
    except* ZeroDivisionError as group:
        {}
    return str(found)
"""
for name, statement in {
    "member's traceback": "found = group.exceptions[0].__traceback__.tb_frame",
    "the group's traceback": "found = group.__traceback__.tb_frame",
    "the clause's own error": "found = []; [found.append(e.with_traceback(e.__traceback__).__traceback__.tb_frame) for e in group.exceptions]",
    "split": "found = group.split(ZeroDivisionError)[0].exceptions[0].__traceback__.tb_frame",
    "subgroup by a callback": "found = []; group.subgroup(lambda e: found.append(e.__traceback__) or True); found = [t.tb_frame for t in found if t]",
    "derive": "found = group.derive(group.exceptions).exceptions[0].__traceback__.tb_frame",
    "pattern in the clause": "found = [getattr(e, '__traceback__').tb_frame for e in group.exceptions]",
}.items():
    groups(name, _GROUP.format(statement))
groups(
    "overridden split confuses types",
    """
class Evil(ExceptionGroup):
    def split(self, kind):
        SEEN.append(self.__traceback__)
        return (None, self)

SEEN = []

def run(input_data):
    try:
        try:
            raise Evil('g', [ValueError()])
        except* KeyError as group:
            pass
    except BaseException:
        pass
    return str(SEEN[0].tb_frame)
""",
)
groups(
    "overridden split returns what is no exception",
    """
class Evil(ExceptionGroup):
    def split(self, kind):
        return (self, object)

def run(input_data):
    try:
        raise Evil('g', [ValueError()])
    except* KeyError as group:
        pass
    return 0
""",
    bomb="broken",
)
groups(
    "overridden split returns no pair",
    """
class Evil(ExceptionGroup):
    def split(self, kind):
        return 1

def run(input_data):
    try:
        raise Evil('g', [ValueError()])
    except* KeyError as group:
        pass
    return 0
""",
    bomb="broken",
)
groups(
    "overridden derive sees every part",
    """
class Evil(ExceptionGroup):
    def derive(self, parts):
        SEEN.extend(parts)
        return Evil(self.message, parts)

SEEN = []

def run(input_data):
    try:
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise Evil('g', [error, KeyError()])
    except* ZeroDivisionError:
        pass
    except* KeyError:
        pass
    return str(SEEN[0].__traceback__.tb_frame)
""",
)
groups(
    "class of the clause is any object",
    """
class Meta(type):
    def __subclasscheck__(cls, kind):
        SEEN.append(kind.__base__)
        return True

SEEN = []

class Evil(Exception, metaclass=Meta):
    pass

def run(input_data):
    try:
        issubclass(ValueError, Evil)
        raise ExceptionGroup('g', [ValueError()])
    except* Exception as group:
        found = group.__traceback__.tb_frame
    return str(found)
""",
)
groups(
    "except star binds a guard",
    """
def run(input_data):
    try:
        raise ExceptionGroup('g', [ValueError()])
    except* ValueError as _getattr_:
        found = '{0.__traceback__.tb_frame}'.format(_getattr_)
    return found
""",
)

# ----------------------------------------------------------------------------------- attributes of exceptions
attributes = Family("NameError and AttributeError", SNIPPETS)
_MISSING = "import {module}\n\ndef run(input_data):\n    try:\n        {module}.nothing_of_this_name\n    except AttributeError as error:\n        return {answer}"
attributes(
    "obj is the module",
    _MISSING.format(module="json", answer="error.obj.codecs.open(input_data['canary']).read()"),
)
attributes(
    "obj by getattr",
    _MISSING.format(
        module="json", answer="getattr(getattr(error, 'obj'), 'codecs').open(input_data['canary']).read()"
    ),
)
attributes(
    "obj by a pattern",
    "import json\n\ndef run(input_data):\n    try:\n        json.nothing_of_this_name\n    except AttributeError as error:\n        match error:\n            case object(obj=object(codecs=object(open=look))):\n                return look(input_data['canary']).read()",
)
attributes(
    "obj by format",
    _MISSING.format(module="re", answer="'{0.obj.enum.sys.modules}'.format(error)"),
    reached="<module 'sys' (built-in)>",
)
attributes(
    "obj of re", _MISSING.format(module="re", answer="error.obj.enum.bltns.open(input_data['canary']).read()")
)
attributes(
    "obj of datetime",
    _MISSING.format(module="datetime", answer="error.obj.sys.modules['io'].open(input_data['canary']).read()"),
)
attributes(
    "obj of collections",
    _MISSING.format(module="collections", answer="error.obj._sys.modules['io'].open(input_data['canary']).read()"),
)
attributes(
    "obj of a missing method in a callback",
    """
import json

class Odd:
    pass

def run(input_data):
    try:
        json.dumps(Odd(), cls=Odd)
    except (AttributeError, TypeError) as error:
        frame = error.__traceback__.tb_next.tb_frame
        return frame.f_builtins['open'](input_data['canary']).read()
""",
)
attributes(
    "obj of a hook inside a module",
    """
import functools

def run(input_data):
    try:
        functools.reduce(1, [1, 2])
    except TypeError as error:
        return str(error.__traceback__.tb_frame)
""",
    reached=FRAME,
)
attributes(
    "obj of a suggestion",
    """
class Spy:
    def __dir__(self):
        SEEN.append(self.__class__.__base__.__subclasses__())
        return []

SEEN = []

def run(input_data):
    try:
        Spy().nothing
    except AttributeError as error:
        dir(error.obj)
    return str(SEEN)
""",
    reached=OBJECTS,
)
attributes(
    "name of a NameError, evaluated",
    "def run(input_data):\n    try:\n        open_ \n    except NameError as error:\n        return eval(error.name[:4])(input_data['canary']).read()",
)
attributes(
    "NameError's traceback",
    "def run(input_data):\n    try:\n        nothing_of_this_name\n    except NameError as error:\n        return str(error.__traceback__.tb_frame)",
    reached=FRAME,
)
attributes(
    "path of an ImportError",
    "def run(input_data):\n    try:\n        from json import nothing_of_this_name\n    except ImportError as error:\n        return error.path",
    reached="json/__init__.py",
)
attributes(
    "text of an ImportError",
    "def run(input_data):\n    try:\n        from collections import nothing_of_this_name\n    except ImportError as error:\n        return str(error)",
    reached="collections/__init__.py",
)
attributes(
    "value of a StopIteration",
    "def g():\n    yield\n    return g.__globals__\n\ndef run(input_data):\n    it = g()\n    next(it)\n    try:\n        next(it)\n    except StopIteration as error:\n        return str(error.value)",
    reached=GLOBALS,
)
attributes(
    "object of a UnicodeError",
    "import codecs\n\ndef run(input_data):\n    codecs.register_error('loot', lambda error: (str(error.__class__.__mro__[-1].__subclasses__()), error.end))\n    return b'\\xff'.decode('utf-8', 'loot')",
    reached=OBJECTS,
)
attributes(
    "a made AttributeError",
    "def run(input_data):\n    error = AttributeError('x', name='y', obj=run)\n    return str(error.obj.__globals__)",
    reached=GLOBALS,
)
attributes(
    "setstate of an exception",
    "def run(input_data):\n    error = ValueError()\n    error.__setstate__({'loot': type.__subclasses__(object)})\n    return str(error.loot)",
    reached=OBJECTS,
)
attributes(
    "dictionary of an exception",
    "def run(input_data):\n    try:\n        1 / 0\n    except ZeroDivisionError as error:\n        error.__dict__['loot'] = error.__reduce__()[0].__mro__[-1].__subclasses__()\n        return str(error.loot)",
    reached=OBJECTS,
)
attributes(
    "file name of a SyntaxError",
    "def run(input_data):\n    try:\n        compile('(', input_data['canary'], 'exec')\n    except SyntaxError as error:\n        return __import__('linecache').getline(error.filename, 1)",
)
