// Locked host memory for what goes to a GPU, or comes from it, beside other work.
#pragma once

#include "core/tensor_view.hpp"

#include <cstddef>
#include <memory>
#include <vector>

namespace sluice {

/// Rows of host memory that take turns. Makes nothing on CPUs.
class HostRing {
public:
    /// `stream` outlives it.
    HostRing(const Stream& stream, std::size_t row_bytes);
    /// Waits for the copies that are under way. While an exception is, its memory is left: the
    /// process must end soon then.
    ~HostRing();
    HostRing(const HostRing&) = delete;
    HostRing& operator=(const HostRing&) = delete;

    /// Moves on to the next row, once the copies of its last use (mark()) are done. Returns its
    /// number.
    std::size_t next();
    /// The current row as a tensor of this type and shape.
    TensorView row(std::size_t number, DType dtype, const Shape& shape) const;
    /// Behind the copies to or from the current row.
    void mark();
    /// Blocks until the copies of that row are done.
    void wait(std::size_t number) const;
    /// Lets `fill` write `to`'s next content into a row, and queues its copy there. On GPUs only.
    template <class Fill>
    void upload(const TensorView& to, const Fill& fill)
    {
        const TensorView filled = row(next(), to.dtype, to.shape);
        fill(filled);
        send(filled, to);
    }
    std::size_t num_rows() const { return rows_.size(); }

private:
    void send(const TensorView& filled, const TensorView& to);

    struct Row;
    Stream stream_;
    std::vector<std::unique_ptr<Row>> rows_;
    std::size_t current_ = 0;
};

} // namespace sluice
