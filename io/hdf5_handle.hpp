// Identifiers of the HDF5 C library as owned values, and its error stack as text. Only io/hdf5_*
// include this (and through it hdf5.h).
#pragma once

#include "io/hdf5_file.hpp"

#include <hdf5.h>
#include <string>
#include <utility>

namespace sluice::hdf5 {

/// Before any other call on this thread: errors are kept instead of printed, and the library does
/// not flush half-written files while the process exits.
void prepare_thread();

/// Takes the thread's error stack as text, "unable to open file: bad superblock"; never empty.
std::string take_reason();

/// An identifier and the call that gives it back. A negative identifier owns nothing.
class Id {
public:
    using Close = herr_t (*)(hid_t);
    Id() = default;
    Id(hid_t id, Close close) : id_(id), close_(close) {}
    Id(Id&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_)
    {
    }
    Id& operator=(Id&& other) noexcept
    {
        std::swap(id_, other.id_);
        std::swap(close_, other.close_);
        return *this;
    }
    ~Id()
    {
        if (id_ >= 0)
            close_(id_);
    }

    bool valid() const { return id_ >= 0; }
    hid_t get() const { return id_; }
    /// Closes now; false when the library could not.
    bool close()
    {
        const hid_t id = std::exchange(id_, H5I_INVALID_HID);
        return id < 0 || close_(id) >= 0;
    }

private:
    hid_t id_ = H5I_INVALID_HID;
    Close close_ = nullptr;
};

/// The library's own identifier of a number type (not to be closed); text is a broken invariant.
hid_t number_type(Hdf5Type type);
/// Fixed-length UTF-8 of `num_bytes`, padded with zeros.
Id text_type(std::size_t num_bytes);

} // namespace sluice::hdf5
