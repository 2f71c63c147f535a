"""Class walk, dunder methods, metaclasses, decorators, comprehensions, walrus, guard shadowing, pattern matching."""

from __future__ import annotations

from tests.security.snippets import CANARY, Family, Snippet

SNIPPETS: list[Snippet] = []

OBJECTS = "_frozen_importlib"  # a module that the list of all classes names
FRAME = "<frame at"
GLOBALS = "'__builtins__'"

# ------------------------------------------------------------------------------------------------- class walk
walk = Family("class walk", SNIPPETS, reached=OBJECTS)
walk("base of a tuple", "def run(input_data):\n    return str(().__class__.__base__.__subclasses__())")
walk("mro of a string", "def run(input_data):\n    return str(''.__class__.__mro__[-1].__subclasses__())")
walk("bases of a list", "def run(input_data):\n    return str([].__class__.__bases__[0].__subclasses__())")
walk("method mro", "def run(input_data):\n    return str(str.mro()[1].__subclasses__())")
walk("mro by type", "def run(input_data):\n    return str(type.__subclasses__(type.mro(int)[-1]))")
walk("getattr", "def run(input_data):\n    return str(getattr(object, '__subclasses__')())")
walk(
    "getattr of joined parts",
    """
def run(input_data):
    look, u = getattr, chr(95) * 2
    return str(look(look(look((), u + 'class' + u), u + 'base' + u), u + 'subclasses' + u)())
""",
)
walk(
    "getattr with a string that lies",
    """
class Name(str):
    def startswith(self, *args):
        return False
    def __contains__(self, part):
        return False
    def __getitem__(self, index):
        return 'x'
    def isidentifier(self):
        return True

def run(input_data):
    return str(getattr(object, Name('__subclasses__'))())
""",
)
walk(
    "getattr with a string that equals nothing",
    """
class Name(str):
    def __eq__(self, other):
        return str.__eq__(self, other) and len(SEEN) > 9
    def __hash__(self):
        return hash(str(self))

SEEN = [0] * 10

def run(input_data):
    return str(getattr(object, Name('__subclasses__'))())
""",
)
walk(
    "attrgetter",
    """
import operator

def run(input_data):
    return str(operator.attrgetter('__class__.__base__.__subclasses__')(())())
""",
)
walk(
    "methodcaller",
    """
import operator

def run(input_data):
    return str(operator.methodcaller('__subclasses__')(object))
""",
)
walk(
    "methodcaller by another name",
    """
from operator import methodcaller as call

def run(input_data):
    return str(list(map(call('__subclasses__'), [object]))[0])
""",
)
walk(
    "reduce over getattr",
    """
from functools import reduce

def run(input_data):
    return str(reduce(getattr, ['__class__', '__base__', '__subclasses__'], ())())
""",
)
walk(
    "partial of getattr",
    """
from functools import partial

def run(input_data):
    return str(partial(getattr, object)('__subclasses__')())
""",
)
walk(
    "vars of type",
    "def run(input_data):\n    return str(vars(type)['__subclasses__'](object))",
)
walk(
    "dictionary of type",
    "def run(input_data):\n    return str(type.__dict__['__subclasses__'](object))",
)
walk(
    "object's own getattribute",
    "def run(input_data):\n    return str(type.__getattribute__(object, '__subclasses__')())",
)
walk(
    "super",
    """
class Child:
    def up(self):
        return super().__thisclass__.__base__.__subclasses__()

def run(input_data):
    return str(Child().up())
""",
)
walk(
    "the class cell",
    """
class Child:
    def up(self):
        return __class__.__base__.__subclasses__()

def run(input_data):
    return str(Child().up())
""",
)
walk(
    "to the open file",
    """
def run(input_data):
    for kind in ().__class__.__base__.__subclasses__():
        if kind.__name__ == '_wrap_close' or kind.__name__ == 'BuiltinImporter':
            try:
                return kind.load_module('io').open(input_data['canary']).read()
            except AttributeError:
                return kind.__init__.__globals__['__builtins__']['open'](input_data['canary']).read()
""",
    reached=CANARY,
)
walk(
    "file loader",
    """
def run(input_data):
    for kind in ().__class__.__base__.__subclasses__():
        if kind.__name__ == 'FileLoader':
            return kind('x', 'y').get_data(input_data['canary']).decode()
    loaders = [k for k in ().__class__.__base__.__subclasses__() if k.__name__ == '_LoaderBasics']
    for kind in loaders[0].__subclasses__():
        if hasattr(kind, 'get_data'):
            return kind('x', 'y').get_data(input_data['canary']).decode()
        for deeper in kind.__subclasses__():
            return deeper('x', 'y').get_data(input_data['canary']).decode()
""",
    reached=CANARY,
)
walk("a function's globals", "def run(input_data):\n    return str(run.__globals__)", reached=GLOBALS)
walk("a lambda's globals", "def run(input_data):\n    return str((lambda: 0).__globals__)", reached=GLOBALS)
walk(
    "a method's function",
    "class A:\n    def f(self):\n        pass\n\ndef run(input_data):\n    return str(A().f.__func__.__globals__)",
    reached=GLOBALS,
)
walk(
    "self of a builtin",
    "def run(input_data):\n    return str(len.__self__.open(input_data['canary']).read())",
    reached=CANARY,
)
walk(
    "self of print",
    "def run(input_data):\n    return print.__self__.__import__('os').popen('cat ' + input_data['canary']).read()",
    reached=CANARY,
)
walk(
    "a new code object",
    """
def run(input_data):
    def f():
        return x
    code = f.__code__.replace(co_names=('open',))
    return run.__class__(code, f.__globals__)()(input_data['canary']).read()
""",
    reached=CANARY,
)
walk(
    "a closure's cell",
    """
def run(input_data):
    def f():
        return input_data
    return f.__closure__[0].__class__.__base__.__subclasses__().__str__()
""",
)

# -------------------------------------------------------------------------------------------- dunder methods
dunder = Family("dunder methods", SNIPPETS, reached=OBJECTS)
dunder(
    "init_subclass",
    """
class Base:
    def __init_subclass__(cls):
        cls.all = cls.__mro__[-1].__subclasses__()

class Child(Base):
    pass

def run(input_data):
    return str(Child.all)
""",
)
dunder(
    "set_name",
    """
class Part:
    def __set_name__(self, owner, name):
        self.seen = type.__subclasses__(object)

class Whole:
    part = Part()

def run(input_data):
    return str(Whole.part.seen)
""",
)
dunder(
    "class_getitem",
    """
class Box:
    def __class_getitem__(cls, key):
        return getattr(cls, key)

def run(input_data):
    return str(Box['__base__'].__subclasses__())
""",
)
dunder(
    "item access made into attribute access",
    """
class Box:
    def __init__(self, inner):
        self.inner = inner
    def __getitem__(self, key):
        return getattr(self.inner, key)

def run(input_data):
    return str(Box(object)['__subclasses__']())
""",
)
dunder(
    "a method called on its class",
    "def run(input_data):\n    return str(object.__getattribute__((), '__class__').__base__.__subclasses__())",
)
dunder(
    "reduce_ex", "def run(input_data):\n    return str(object().__reduce_ex__(2)[0].__globals__)", reached=GLOBALS
)
dunder(
    "copy calls reduce",
    """
import copy

class Loot:
    def __reduce_ex__(self, protocol):
        return eval, ("open(" + repr(PATH[0]) + ").read()",)

PATH = []

def run(input_data):
    PATH.append(input_data['canary'])
    return copy.copy(Loot())
""",
    reached=CANARY,
)
dunder(
    "descriptor",
    """
class Hole:
    def __get__(self, obj, owner):
        return owner.__base__.__subclasses__()

class Host:
    hole = Hole()

def run(input_data):
    return str(Host.hole)
""",
)
dunder(
    "instancecheck of a metaclass",
    """
class Meta(type):
    def __instancecheck__(cls, obj):
        SEEN.append(obj.__class__.__base__.__subclasses__())
        return True

class Any(metaclass=Meta):
    pass

SEEN = []

def run(input_data):
    isinstance((), Any)
    return str(SEEN[-1])
""",
)
dunder(
    "subclasshook of an abstract class",
    """
from abc import ABC

class Hook(ABC):
    seen = []
    @classmethod
    def __subclasshook__(cls, kind):
        cls.seen.append(kind.__base__.__subclasses__())
        return True

def run(input_data):
    issubclass(int, Hook)
    return str(Hook.seen[-1])
""",
)
dunder(
    "missing key evaluated",
    """
class Lazy(dict):
    def __missing__(self, key):
        return eval(key)

def run(input_data):
    return '%(open)s'.replace('open', 'object.__subclasses__()') % Lazy()
""",
)
dunder(
    "module getattr",
    """
def __getattr__(name):
    return name

def run(input_data):
    return str(run.__builtins__['object'].__subclasses__())
""",
)
dunder(
    "operator overloaded by assignment",
    """
class Key:
    pass

Key.__getitem__ = lambda self, name: getattr(object, name)

def run(input_data):
    return str(Key()['__subclasses__']())
""",
)
dunder(
    "setattr on a class",
    """
class Key:
    pass

def run(input_data):
    setattr(Key, '__getitem__', lambda self, name: getattr(object, name))
    return str(Key()['__subclasses__']())
""",
)
dunder(
    "class swapped",
    """
class A:
    pass

class B:
    def look(self):
        return self.__class__.__base__.__subclasses__()

def run(input_data):
    a = A()
    a.__class__ = B
    return str(a.look())
""",
)
dunder(
    "private name mangled by hand",
    "class A:\n    def __init__(self):\n        self.__d = type.__subclasses__(object)\n\ndef run(input_data):\n    return str(A()._A__d)",
)
dunder(
    "private name mangled by a class of underscores",
    """
class _class__:
    def f(self, x):
        return x.__base__

class A:
    def look(self):
        return self.__class__.__base__.__subclasses__()

def run(input_data):
    return str(A().look())
""",
)
dunder(
    "annotations of the module",
    "x: type.__subclasses__(object) = 0\n\ndef run(input_data):\n    return str(__annotations__['x'])",
)
dunder(
    "annotations of a function",
    "def run(input_data: type.__subclasses__(object) = None):\n    return str(run.__annotations__['input_data'])",
)

# ------------------------------------------------------------------------------------------------ metaclasses
meta = Family("metaclasses", SNIPPETS, reached=OBJECTS)
meta(
    "type of three arguments", "def run(input_data):\n    return str(type('X', (), {}).__base__.__subclasses__())"
)
meta("type of type", "def run(input_data):\n    return str(type(type(())).__subclasses__(object))")
meta(
    "type of three arguments with a dunder",
    """
def run(input_data):
    u = '_' * 2
    kind = type('X', (), {u + 'getitem' + u: lambda self, name: getattr(object, name)})
    return str(kind()[u + 'subclasses' + u]())
""",
)
meta(
    "class keyword",
    """
class Meta(type):
    def look(cls):
        return cls.__base__.__subclasses__()

class X(metaclass=Meta):
    pass

def run(input_data):
    return str(X.look())
""",
)
meta(
    "a function as metaclass",
    """
class X(metaclass=lambda name, bases, body: type.__subclasses__(object)):
    pass

def run(input_data):
    return str(X)
""",
)
meta(
    "prepare",
    """
class Space(dict):
    def __missing__(self, key):
        return getattr(object, '__subclasses__')()

class Meta(type):
    @classmethod
    def __prepare__(cls, name, bases):
        return Space()

class X(metaclass=Meta):
    found = anything

def run(input_data):
    return str(X.found)
""",
)
meta(
    "mro_entries",
    """
class Fake:
    def __mro_entries__(self, bases):
        SEEN.append(bases[0].__class__.__base__.__subclasses__())
        return ()

SEEN = []

class X(Fake()):
    pass

def run(input_data):
    return str(SEEN[0])
""",
)
meta(
    "getitem on a metaclass",
    """
class Meta(type):
    __getitem__ = lambda cls, name: getattr(cls, name)

class X(metaclass=Meta):
    pass

def run(input_data):
    return str(X['__base__'].__subclasses__())
""",
)
meta(
    "mro without a dunder",
    """
class X:
    pass

def run(input_data):
    base = type(X).mro(X)[-1]
    return str(type(base).__subclasses__(base))
""",
)
meta(
    "a copy of a class is a call of type",
    """
import collections

def run(input_data):
    return str(collections.Counter.copy(int))
""",
    reached="<class 'type'>",
    found=True,
)
meta(
    "types.new_class",
    "import types\n\ndef run(input_data):\n    return str(types.new_class('X').__base__.__subclasses__())",
)
meta(
    "build_class",
    "def run(input_data):\n    return str(__build_class__(lambda: None, 'X').__base__.__subclasses__())",
)
meta(
    "enum's metaclass",
    "import enum\n\ndef run(input_data):\n    return str(type(enum.Enum).__base__.__subclasses__(object))",
)
meta(
    "abstract class registers",
    """
from abc import ABCMeta

def run(input_data):
    return str(ABCMeta('X', (), {}).mro()[-1].__subclasses__())
""",
)
meta(
    "named tuple's globals",
    "from collections import namedtuple\n\ndef run(input_data):\n    return str(namedtuple('P', 'x')._make.__func__.__globals__)",
    reached=GLOBALS,
)
meta(
    "make_dataclass",
    """
from dataclasses import make_dataclass

def run(input_data):
    kind = make_dataclass('P', [('x', int, 0)], namespace={'look': lambda self: self.__class__.__base__.__subclasses__()})
    return str(kind().look())
""",
)
meta(
    "type hints evaluate text",
    """
import typing

class X:
    field: 'FOUND.append(open(PATH[0]).read()) or int'

FOUND, PATH = [], []

def run(input_data):
    PATH.append(input_data['canary'])
    typing.get_type_hints(X, {'FOUND': FOUND, 'PATH': PATH})
    return FOUND
""",
    reached=CANARY,
)

# ------------------------------------------------------------------------------------------------- decorators
decorators = Family("decorators", SNIPPETS, reached=OBJECTS)
decorators(
    "eval without a call",
    """
@eval
@(lambda f: 'object.__subclasses__()')
def found():
    pass

def run(input_data):
    return str(found)
""",
)
decorators(
    "exec of a class",
    """
@exec
@(lambda kind: 'global FOUND; FOUND = object.__subclasses__()')
class found:
    pass

def run(input_data):
    return str(FOUND)
""",
)
decorators(
    "type.mro",
    """
@type.__subclasses__
@(lambda kind: kind[-1])
@type.mro
class found:
    pass

def run(input_data):
    return str(found)
""",
)
decorators(
    "property reads the owner",
    """
class A:
    @property
    def look(self):
        return self.__class__.__base__.__subclasses__()

def run(input_data):
    return str(A().look)
""",
)
decorators(
    "function under classmethod",
    "class A:\n    @classmethod\n    def f(cls):\n        pass\n\ndef run(input_data):\n    return str(A.f.__func__.__globals__)",
    reached=GLOBALS,
)
decorators(
    "getter of a property",
    "class A:\n    @property\n    def f(self):\n        pass\n\ndef run(input_data):\n    return str(A.f.fget.__globals__)",
    reached=GLOBALS,
)
decorators(
    "wraps copies a dictionary",
    """
import functools

class Source:
    pass

def run(input_data):
    source = Source()
    source.__dict__['__getattr__'] = 1
    @functools.wraps(source)
    def f():
        pass
    return str(f.__wrapped__.__class__.__base__.__subclasses__())
""",
)
decorators(
    "update_wrapper assigns what it is told",
    """
import functools

class Source:
    def code(self):
        return 0

def run(input_data):
    def f():
        return 0
    functools.update_wrapper(f, open, assigned=('__self__',), updated=())
    return f.__self__.open(input_data['canary']).read()
""",
    reached=CANARY,
)
decorators(
    "lru_cache keeps the function",
    "import functools\n\n@functools.lru_cache\ndef f():\n    pass\n\ndef run(input_data):\n    return str(f.__wrapped__.__globals__)",
    reached=GLOBALS,
)
decorators(
    "singledispatch registry",
    "import functools\n\n@functools.singledispatch\ndef f(x):\n    pass\n\ndef run(input_data):\n    return str(f.registry[object].__globals__)",
    reached=GLOBALS,
)
decorators(
    "partial keeps the function",
    "import functools\n\ndef run(input_data):\n    return str(functools.partial(run).func.__globals__)",
    reached=GLOBALS,
)
decorators(
    "cached_property",
    """
import functools

class A:
    @functools.cached_property
    def f(self):
        return 0

def run(input_data):
    return str(type(A.f).__get__.__globals__ if hasattr(type(A.f).__get__, 'x') else A.f.func.__globals__)
""",
    reached=GLOBALS,
)

# --------------------------------------------------------------------------------------------- comprehensions
comp = Family("comprehensions", SNIPPETS, reached=OBJECTS)
comp(
    "walk inside a list",
    "def run(input_data):\n    return str([x.__base__.__subclasses__() for x in [().__class__]])",
)
comp(
    "attribute as target",
    """
class A:
    pass

def run(input_data):
    [0 for A.__getitem__ in [lambda self, name: getattr(object, name)]]
    return str(A()['__subclasses__']())
""",
)
comp(
    "item as target",
    """
def run(input_data):
    space = {}
    [0 for space['all'] in [type.__subclasses__(object)]]
    return str(space)
""",
)
comp(
    "lines of a file",
    """
def run(input_data):
    return [line for line in open(input_data['canary'])]
""",
    reached=CANARY,
)
comp(
    "starred target", "def run(input_data):\n    return str([b for *a, b in [type.mro(int)]][0].__subclasses__())"
)
comp(
    "frame of a generator expression",
    "def run(input_data):\n    return str((x for x in ()).gi_frame)",
    reached=FRAME,
)
comp(
    "generator expression that sees itself",
    """
def run(input_data):
    g = (g.gi_frame.f_back for _ in [1])
    return [str(x) for x in g][0]
""",
    reached=FRAME,
)
comp(
    "class body comprehension",
    "class A:\n    found = [type.__subclasses__(object) for _ in '.'][0]\n\ndef run(input_data):\n    return str(A.found)",
)
comp(
    "dictionary keys",
    "def run(input_data):\n    return str({str(k.__subclasses__()): 0 for k in [().__class__.__base__]})",
)
comp(
    "condition assigns a guard",
    "def run(input_data):\n    return str([x for x in [object] if (_getattr_ := getattr)][0].__subclasses__())",
)

# ----------------------------------------------------------------------------------------------------- walrus
walrus = Family("walrus", SNIPPETS, reached=OBJECTS)
walrus("plain", "def run(input_data):\n    return str((x := ().__class__.__base__) and x.__subclasses__())")
walrus(
    "in a comprehension",
    "def run(input_data):\n    [(y := x.__base__) for x in [int]]\n    return str(y.__subclasses__())",
)
walrus("in an f-string", "def run(input_data):\n    return f'{(x := object).__subclasses__()}'")
walrus("in a default", "def run(input_data, found=(x := type.__subclasses__(object))):\n    return str(x)")
walrus(
    "in a decorator",
    "@(f := lambda g: type.__subclasses__(object))\ndef found():\n    pass\n\ndef run(input_data):\n    return str(f(0))",
)
walrus(
    "of the guard of attributes",
    "(_getattr_ := getattr)\n\ndef run(input_data):\n    return '{0.__globals__}'.format(run)",
    reached=GLOBALS,
)
walrus(
    "of the guard in a comprehension",
    "[(_getattr_ := g) for g in [getattr]]\n\ndef run(input_data):\n    return '{0.__globals__}'.format(run)",
    reached=GLOBALS,
)
walrus(
    "of the builtins",
    "def run(input_data):\n    return (__builtins__ := __import__)('io').open(input_data['canary']).read()",
    reached=CANARY,
)
walrus(
    "global from a comprehension",
    "def run(input_data):\n    global _getitem_\n    [_getitem_ := x for x in [getattr]]\n    return '{0.__globals__}'.format(run)",
    reached=GLOBALS,
)
walrus(
    "in a pattern's guard",
    "def run(input_data):\n    match 0:\n        case x if (y := object.__subclasses__()):\n            return str(y)",
)
walrus("in a slice", "def run(input_data):\n    return str([0][(x := object.__subclasses__()) and 0:] and x)")
walrus("in a lambda", "def run(input_data):\n    return str((lambda: (x := object.__subclasses__()))())")

# -------------------------------------------------------------------------------------------- guard shadowing
shadow = Family("guard shadowing", SNIPPETS, reached=GLOBALS)
_LEAK = "    return '{0.__globals__}'.format(run)"
for how, source in {
    "by a function": "def _getattr_(obj, name):\n    return getattr(obj, name)\n\ndef run(input_data):\n" + _LEAK,
    "by a local": "def run(input_data):\n    _getattr_ = getattr\n" + _LEAK,
    "by a parameter": "def run(input_data, _getattr_=getattr):\n" + _LEAK,
    "by a keyword-only parameter": "def run(input_data, *, _getattr_=getattr):\n" + _LEAK,
    "by a star parameter": "def run(input_data, *_getattr_, **_getitem_):\n" + _LEAK,
    "by a lambda's parameter": "def run(input_data):\n    return (lambda _getattr_: '{0.__globals__}'.format(run))(getattr)",
    "by a class": "class _getattr_:\n    def __new__(cls, obj, name):\n        return getattr(obj, name)\n\ndef run(input_data):\n"
    + _LEAK,
    "in a class body": "class A:\n    _getattr_ = getattr\n    found = '{0.__init__}'.format(0)\n\ndef run(input_data):\n"
    + _LEAK,
    "by an import": "from operator import getitem as _getattr_\n\ndef run(input_data):\n    del globals()['_getattr_']\n"
    + _LEAK,
    "by a loop": "for _getattr_ in [getattr]:\n    pass\n\ndef run(input_data):\n" + _LEAK,
    "by a with statement": "from contextlib import nullcontext\n\nwith nullcontext(getattr) as _getattr_:\n    pass\n\ndef run(input_data):\n"
    + _LEAK,
    "by an except clause": "def run(input_data):\n    try:\n        1 / 0\n    except ZeroDivisionError as _getattr_:\n        return '{0.__globals__}'.format(run)",
    "by a pattern": "match getattr:\n    case _getattr_:\n        pass\n\ndef run(input_data):\n" + _LEAK,
    "by a star pattern": "match [getattr]:\n    case [*_getattr_]:\n        _getattr_ = _getattr_[0]\n\ndef run(input_data):\n"
    + _LEAK,
    "by a mapping pattern": "match {'a': getattr}:\n    case {**_getattr_}:\n        pass\n\ndef run(input_data):\n"
    + _LEAK,
    "by unpacking": "(_getattr_, *_getitem_) = getattr, 0\n\ndef run(input_data):\n" + _LEAK,
    "by augmented assignment": "_write_ = []\n_write_ += [getattr]\n\ndef run(input_data):\n" + _LEAK,
    "by an annotation": "_getattr_: object = getattr\n\ndef run(input_data):\n" + _LEAK,
    "by a global statement": "def run(input_data):\n    global _getattr_\n    _getattr_ = getattr\n" + _LEAK,
    "by deletion": "_getattr_ = 0\ndel _getattr_\n\ndef run(input_data):\n" + _LEAK,
    "by globals()": "globals()['_getattr_'] = getattr\n\ndef run(input_data):\n" + _LEAK,
    "of the builtins": "__builtins__ = {'getattr': getattr}\n\ndef run(input_data):\n" + _LEAK,
    "of the import": "def __import__(*args):\n    return args\n\ndef run(input_data):\n" + _LEAK,
    "of getattr": "plain = getattr\n\ndef getattr(obj, name):\n    return plain(obj, name)\n\ndef run(input_data):\n    return str(getattr(run, '__globals__'))",
    "of isinstance": "def isinstance(obj, kind):\n    return True\n\ndef type(obj):\n    return str\n\ndef run(input_data):\n"
    + _LEAK,
    "of str": "class str(str):\n    def startswith(self, *args):\n        return False\n\ndef run(input_data):\n    return str('{0.__globals__}').format(run)",
    "of the print collector": "_print_ = _print = print\n\ndef run(input_data):\n" + _LEAK,
    "of the iterator guard": "_getiter_ = iter\n_iter_unpack_sequence_ = zip\n\ndef run(input_data):\n" + _LEAK,
    "of the module's name": "__name__ = '__main__'\n__metaclass__ = type\n\ndef run(input_data):\n" + _LEAK,
}.items():
    shadow(how, source)

# ------------------------------------------------------------------------------------------- pattern matching
pattern = Family("pattern matching", SNIPPETS, reached=OBJECTS)
_CASE = "def run(input_data):\n    match {subject}:\n        case {pattern}:\n            return {answer}\n"


def case(name: str, subject: str, pattern_: str, answer: str, reached: str = OBJECTS, before: str = "") -> None:
    pattern(name, before + _CASE.format(subject=subject, pattern=pattern_, answer=answer), reached=reached)


case("class attribute", "()", "tuple(__class__=kind)", "str(kind.__base__.__subclasses__())")
case("only patterns", "object", "object(__subclasses__=look)", "str(look())")
case("nested", "()", "object(__class__=object(__base__=object(__subclasses__=look)))", "str(look())")
case("globals of a function", "run", "object(__globals__=found)", "str(found)", GLOBALS)
case("frame of a generator", "(x for x in ())", "object(gi_frame=frame)", "str(frame)", FRAME)
case("format of a string", "'{0.__globals__}'", "str(format=form)", "form(run)", GLOBALS)
case("format_map of a string", "'{f.__globals__}'", "object(format_map=form)", "form({'f': run})", GLOBALS)
case("mro of a class", "int", "object(mro=mro)", "str(type.__subclasses__(mro()[-1]))")
case("code of a function", "run", "object(__code__=object(co_consts=found))", "str(run.__globals__)", GLOBALS)
case(
    "traceback of an exception",
    "fail()",
    "object(__traceback__=object(tb_frame=frame))",
    "str(frame)",
    FRAME,
    "def fail():\n    try:\n        1 / 0\n    except ZeroDivisionError as error:\n        return error\n\n",
)
case(
    "match_args",
    "(x for x in ())",
    "Any(frame)",
    "str(frame)",
    FRAME,
    "class Meta(type):\n    def __instancecheck__(cls, obj):\n        return True\n\n"
    "class Any(metaclass=Meta):\n    __match_args__ = ('gi_frame',)\n\n",
)
case(
    "match_args set later",
    "Child()",
    "Child(found)",
    "str(found)",
    OBJECTS,
    "class Child:\n    found = type.__subclasses__(object)\n\nsetattr(Child, '__match' + '_args__', ('found',))\n\n",
)
case(
    "match_args of a named tuple",
    "P(object)",
    "P(kind)",
    "str(kind.__subclasses__())",
    OBJECTS,
    "from collections import namedtuple\n\nP = namedtuple('P', 'x')\n\n",
)
case("value pattern", "0", "input_data.__class__ | _", "str(type.__subclasses__(object))")
