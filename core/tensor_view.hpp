// A typed window on memory somebody else owns: no ownership, no autograd, no hidden allocation.
#pragma once

#include "core/device.hpp"
#include "core/dtype.hpp"
#include "core/shape.hpp"

#include <span>

namespace sluice {

struct TensorView {
    void* data = nullptr;
    DType dtype = DType::f32;
    Shape shape{};
    Device device{};

    bool empty() const { return data == nullptr; }
    std::int64_t num_elements() const { return shape.num_elements(); }
    std::size_t num_bytes() const
    {
        return static_cast<std::size_t>(num_elements()) * size_of(dtype);
    }

    /// The elements as T; a wrong T is a broken invariant.
    template <class T>
    T* as() const
    {
        SLUICE_CHECK(dtype == dtype_of<T>(), "tensor is " << name_of(dtype));
        return static_cast<T*>(data);
    }
    template <class T>
    std::span<T> elements() const
    {
        return {as<T>(), static_cast<std::size_t>(num_elements())};
    }

    /// The same memory under another shape of equally many elements.
    TensorView reshape(const Shape& to) const
    {
        SLUICE_CHECK(to.num_elements() == num_elements(), shape.text() << " -> " << to.text());
        TensorView view = *this;
        view.shape = to;
        return view;
    }

    /// Elements [begin, begin + to.num_elements()) of the flat memory, as shape `to`.
    TensorView slice(std::int64_t begin, const Shape& to) const
    {
        SLUICE_CHECK(begin >= 0 && begin + to.num_elements() <= num_elements(),
                     "begin " << begin << ", " << to.text() << " of " << shape.text());
        TensorView view = *this;
        view.data = static_cast<char*>(data) + static_cast<std::size_t>(begin) * size_of(dtype);
        view.shape = to;
        return view;
    }
};

/// View of a caller's array.
template <class T>
TensorView view_of(T* data, const Shape& shape)
{
    return {data, dtype_of<T>(), shape, Device{}};
}

} // namespace sluice
