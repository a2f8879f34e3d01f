#include "layers/kernels/cpu/blocks.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/element_types.hpp"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels {

namespace {

/// to[i] = value(i, count) for chunks of [0, n).
template <class T, class Value>
void write_each(T* to, std::int64_t n, Value&& value)
{
    for_each_block(n, elements_per_block, [=](std::int64_t begin, std::int64_t end) {
        for_each_chunk(end - begin, [&](std::int64_t i, auto count) {
            store(to + begin + i, value(begin + i, count), count);
        });
    });
}

void copy_bytes(const Copy& op)
{
    const char* from = static_cast<const char*>(op.from.data);
    char* to = static_cast<char*>(op.to.data);
    const auto num_bytes = static_cast<std::int64_t>(op.from.num_bytes());
    for_each_block(num_bytes, std::int64_t{1} << 18, [=](std::int64_t begin, std::int64_t end) {
        std::memcpy(to + begin, from + begin, static_cast<std::size_t>(end - begin));
    });
}

} // namespace

void run(Cpu, const Copy& op)
{
    const std::int64_t n = extents_of(op);
    if (op.from.dtype == op.to.dtype)
        return copy_bytes(op);
    with_type_of(op.from, [&]<class From>(Type<From>) {
        with_type_of(op.to, [&]<class To>(Type<To>) {
            const From* from = op.from.as<From>();
            write_each(op.to.as<To>(), n,
                       [=](std::int64_t i, auto count) { return load(from + i, count); });
        });
    });
}

void run(Cpu, const Fill& op)
{
    with_type_of(op.to, [&]<class T>(Type<T>) {
        const Lanes value = broadcast(static_cast<float>(op.value));
        write_each(op.to.as<T>(), op.to.num_elements(), [=](std::int64_t, auto) { return value; });
    });
}

void run(Cpu, const Scale& op)
{
    const std::int64_t n = extents_of(op);
    with_type_of(op.x, [&]<class T>(Type<T>) {
        const T* x = op.x.as<T>();
        const auto factor = static_cast<float>(op.factor);
        write_each(op.y.as<T>(), n,
                   [=](std::int64_t i, auto count) { return factor * load(x + i, count); });
    });
}

void run(Cpu, const Add& op)
{
    const std::int64_t n = extents_of(op);
    with_type_of(op.x, [&]<class T>(Type<T>) {
        const T* x = op.x.as<T>();
        T* y = op.y.as<T>();
        write_each(y, n, [=](std::int64_t i, auto count) {
            return load(y + i, count) + load(x + i, count);
        });
    });
}

} // namespace sluice::kernels
