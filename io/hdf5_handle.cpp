#include "io/hdf5_handle.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <mutex>

namespace sluice {

std::string_view name_of(Hdf5Type type)
{
    switch (type) {
    case Hdf5Type::f32: return "f32";
    case Hdf5Type::f64: return "f64";
    case Hdf5Type::i32: return "i32";
    case Hdf5Type::i64: return "i64";
    case Hdf5Type::u16: return "u16";
    case Hdf5Type::u32: return "u32";
    case Hdf5Type::u64: return "u64";
    case Hdf5Type::text: return "text";
    }
    return "?";
}

std::size_t size_of(Hdf5Type type)
{
    switch (type) {
    case Hdf5Type::f64:
    case Hdf5Type::i64:
    case Hdf5Type::u64: return 8;
    case Hdf5Type::f32:
    case Hdf5Type::i32:
    case Hdf5Type::u32: return 4;
    case Hdf5Type::u16: return 2;
    case Hdf5Type::text: return 1;
    }
    return 0;
}

Hdf5Type hdf5_type_of(DType dtype)
{
    switch (dtype) {
    case DType::f32: return Hdf5Type::f32;
    case DType::f64: return Hdf5Type::f64;
    case DType::i32: return Hdf5Type::i32;
    case DType::u16: return Hdf5Type::u16;
    case DType::u32: return Hdf5Type::u32;
    case DType::bf16: break;
    }
    SLUICE_CHECK(false, "no HDF5 type for " << name_of(dtype));
}

namespace hdf5 {

void prepare_thread()
{
    static std::once_flag once;
    std::call_once(once, [] {
        H5dont_atexit();
        H5open();
    });
    // The error stack belongs to the thread.
    thread_local const bool quiet = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
    static_cast<void>(quiet);
}

std::string take_reason()
{
    struct Ends {
        std::string outermost, innermost;
    } ends;
    H5Ewalk2(
        H5E_DEFAULT, H5E_WALK_DOWNWARD,
        [](unsigned depth, const H5E_error2_t* entry, void* data) -> herr_t {
            auto& found = *static_cast<Ends*>(data);
            const std::string text = entry->desc != nullptr ? entry->desc : "";
            (depth == 0 ? found.outermost : found.innermost) = text;
            return 0;
        },
        &ends);
    H5Eclear2(H5E_DEFAULT);
    if (ends.outermost.empty() && ends.innermost.empty())
        return "HDF5 gives no reason";
    if (ends.innermost.empty() || ends.outermost == ends.innermost)
        return ends.outermost;
    return ends.outermost + ": " + ends.innermost;
}

hid_t number_type(Hdf5Type type)
{
    switch (type) {
    case Hdf5Type::f32: return H5T_IEEE_F32LE;
    case Hdf5Type::f64: return H5T_IEEE_F64LE;
    case Hdf5Type::i32: return H5T_STD_I32LE;
    case Hdf5Type::i64: return H5T_STD_I64LE;
    case Hdf5Type::u16: return H5T_STD_U16LE;
    case Hdf5Type::u32: return H5T_STD_U32LE;
    case Hdf5Type::u64: return H5T_STD_U64LE;
    case Hdf5Type::text: break;
    }
    SLUICE_CHECK(false, "text is not a number");
}

Id text_type(std::size_t num_bytes)
{
    Id type(H5Tcopy(H5T_C_S1), H5Tclose);
    const bool made = type.valid() &&
                      H5Tset_size(type.get(), std::max<std::size_t>(num_bytes, 1)) >= 0 &&
                      H5Tset_cset(type.get(), H5T_CSET_UTF8) >= 0 &&
                      H5Tset_strpad(type.get(), H5T_STR_NULLPAD) >= 0;
    SLUICE_CHECK(made, "text type of " << num_bytes << " bytes: " << take_reason());
    return type;
}

} // namespace hdf5
} // namespace sluice
