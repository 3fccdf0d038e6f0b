"""A compiled loop on all threads that torch computes with, run by the OpenMP team that torch keeps awake meanwhile.

Threads of another pool would have to be woken for every loop, and would then wait in the way of torch's.
"""

import torch  # noqa: F401  (its libraries bring the functions named below)
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

RUN, NUMBER, SIZE = TEAM = "GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads"
"""What a team is asked by, in GNU's OpenMP and those that answer to its names; without one the calling thread does
everything."""

FEW = 2**15
"""Up to so many numbers the calling thread computes alone: a norm of them takes it 3 µs, a gate 9."""

POINTER, WORD = ir.IntType(8).as_pointer(), ir.IntType(32)


@intrinsic(prefer_literal=False)
def in_team(typing, loop, count, numbers, parts):
    """Call loop(first, last, *parts) for each thread's piece of range(count); in compiled loops only.

    loop: compiled, returns nothing and never fails. numbers: how many are computed in all; FEW are left to the calling
    thread. parts: a tuple.
    """
    of_loop = loop.get_call_type(typing, (types.intp, types.intp, *parts.types), {})
    overload = loop.dispatcher.overloads[tuple(of_loop.args)]

    def generate(context, builder, signature, arguments):
        _, count, numbers, parts = arguments
        context.add_linking_libs([overload.library])
        if all(binding.address_of_symbol(name) for name in TEAM):
            shared = cgutils.alloca_once_value(builder, cgutils.pack_struct(builder, [count, parts]))
            piece = _piece(context, builder.module, overload, of_loop, shared.type)
            run = _known(builder.module, RUN, ir.VoidType(), piece.type, POINTER, WORD, WORD)
            few = builder.icmp_signed("<=", numbers, numbers.type(FEW))
            threads = builder.select(few, WORD(1), WORD(0))  # 0: as many as torch has
            builder.call(run, [piece, builder.bitcast(shared, POINTER), threads, WORD(0)])
        else:
            _call(context, builder, overload, of_loop, [count.type(0), count], parts)
        return context.get_dummy_value()

    return types.none(loop, types.intp, types.intp, parts), generate


def _piece(context, module, overload, of_loop, shared) -> ir.Function:
    """What each thread runs. shared: type of what it is handed, a pointer to the count and the parts."""
    kind = ir.FunctionType(ir.VoidType(), [POINTER])
    piece = ir.Function(module, kind, module.get_unique_name("piece"))
    piece.linkage = "internal"
    builder = ir.IRBuilder(piece.append_basic_block())
    count, parts = cgutils.unpack_tuple(builder, builder.load(builder.bitcast(piece.args[0], shared)))
    asked = (builder.call(_known(module, name, WORD), []) for name in (NUMBER, SIZE))
    number, size = (builder.sext(answer, count.type) for answer in asked)
    ends = number, builder.add(number, count.type(1))
    ends = [builder.sdiv(builder.mul(count, end), size) for end in ends]
    _call(context, builder, overload, of_loop, ends, parts)
    builder.ret_void()
    return piece


def _known(module, name: str, returned: ir.Type, *arguments: ir.Type) -> ir.Function:
    """A function of the process, by its name."""
    return cgutils.get_or_insert_function(module, ir.FunctionType(returned, arguments), name)


def _call(context, builder, overload, of_loop, ends, parts) -> None:
    called = context.declare_function(builder.module, overload.fndesc)
    arguments = [*ends, *cgutils.unpack_tuple(builder, parts)]
    context.call_conv.call_function(builder, called, types.none, of_loop.args, arguments)
