// Legend: n elements, a chunk of them per thread.
#pragma once

#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

inline constexpr int elementwise_threads = 256;

SLUICE_DEVICE std::int64_t first_of_thread()
{
    return (block_x() * elementwise_threads + thread()) * chunk;
}

template <class T>
struct FillKernel {
    static constexpr int num_threads = elementwise_threads;
    T* to; // [n]
    std::int64_t n;
    float value;
    bool aligned;

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t i = first_of_thread();
        if (i >= n)
            return;
        Floats<chunk> floats;
        for (int j = 0; j < chunk; ++j)
            floats[j] = value;
        store_floats(to + i, floats, n - i, aligned);
    }
};

template <class T>
struct ScaleKernel {
    static constexpr int num_threads = elementwise_threads;
    const T* x; // [n]
    T* y;       // [n]
    std::int64_t n;
    float factor;
    bool aligned;

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t i = first_of_thread();
        if (i >= n)
            return;
        Floats<chunk> floats = load_floats<chunk>(x + i, n - i, aligned);
        for (int j = 0; j < chunk; ++j)
            floats[j] = factor * floats[j];
        store_floats(y + i, floats, n - i, aligned);
    }
};

template <class T>
struct AddKernel {
    static constexpr int num_threads = elementwise_threads;
    const T* x; // [n]
    T* y;       // [n]
    std::int64_t n;
    bool aligned;

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t i = first_of_thread();
        if (i >= n)
            return;
        const Floats<chunk> addend = load_floats<chunk>(x + i, n - i, aligned);
        Floats<chunk> floats = load_floats<chunk>(y + i, n - i, aligned);
        for (int j = 0; j < chunk; ++j)
            floats[j] += addend[j];
        store_floats(y + i, floats, n - i, aligned);
    }
};

inline Grid elementwise_grid(std::int64_t n)
{
    return {blocks_for(n, std::int64_t{elementwise_threads} * chunk)};
}

template <class Launcher>
void launch_elementwise(const Launcher& launcher, const Copy& op)
{
    extents_of(op);
    SLUICE_CHECK(op.from.dtype == op.to.dtype, name_of(op.from.dtype)
                                                   << " to " << name_of(op.to.dtype));
    launcher.copy(op.to.data, op.from.data, op.from.num_bytes());
}

template <class Launcher>
void launch_elementwise(const Launcher& launcher, const Fill& op)
{
    const std::int64_t n = op.to.num_elements();
    with_type_of(op.to, [&]<class T>(Type<T>) {
        launcher(FillKernel<T>{.to = op.to.as<T>(),
                               .n = n,
                               .value = static_cast<float>(op.value),
                               .aligned = chunks_aligned(chunk, op.to)},
                 elementwise_grid(n));
    });
}

template <class Launcher>
void launch_elementwise(const Launcher& launcher, const Scale& op)
{
    const std::int64_t n = extents_of(op);
    with_type_of(op.x, [&]<class T>(Type<T>) {
        launcher(ScaleKernel<T>{.x = op.x.as<T>(),
                                .y = op.y.as<T>(),
                                .n = n,
                                .factor = static_cast<float>(op.factor),
                                .aligned = chunks_aligned(chunk, op.x, op.y)},
                 elementwise_grid(n));
    });
}

template <class Launcher>
void launch_elementwise(const Launcher& launcher, const Add& op)
{
    const std::int64_t n = extents_of(op);
    with_type_of(op.x, [&]<class T>(Type<T>) {
        launcher(AddKernel<T>{.x = op.x.as<T>(),
                              .y = op.y.as<T>(),
                              .n = n,
                              .aligned = chunks_aligned(chunk, op.x, op.y)},
                 elementwise_grid(n));
    });
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
