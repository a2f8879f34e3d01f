#include "core/durable_file.hpp"
#include "io/hdf5_reader_state.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace sluice {

namespace fs = std::filesystem;
using hdf5::Id;

namespace {

constexpr Hdf5Type number_types[] = {Hdf5Type::f32, Hdf5Type::f64, Hdf5Type::i32, Hdf5Type::i64,
                                     Hdf5Type::u16, Hdf5Type::u32, Hdf5Type::u64};
constexpr std::uint64_t max_text_bytes = std::uint64_t{64} << 20;

/// The file's number type, or text for a fixed-length string; empty for anything else.
std::optional<Hdf5Type> type_of(hid_t type)
{
    for (const Hdf5Type candidate : number_types)
        if (H5Tequal(type, hdf5::number_type(candidate)) > 0)
            return candidate;
    if (H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0)
        return Hdf5Type::text;
    return std::nullopt;
}

/// Product of the extents times `element_bytes`; empty on overflow.
std::optional<std::uint64_t> checked_bytes(const std::vector<std::uint64_t>& extents,
                                           std::uint64_t element_bytes)
{
    std::uint64_t product = element_bytes;
    for (const std::uint64_t extent : extents)
        if (__builtin_mul_overflow(product, extent, &product))
            return std::nullopt;
    return product;
}

} // namespace

/// True when every link on the way is an ordinary one: nothing leads out of the file or in a ring.
bool Hdf5Reader::State::exists(std::string_view path) const
{
    hdf5::prepare_thread();
    if (path.empty() || path.front() != '/')
        return false;
    std::size_t begin = 1;
    while (begin < path.size()) {
        const std::size_t end = std::min(path.find('/', begin), path.size());
        const std::string_view prefix = path.substr(0, end);
        begin = end + 1;
        if (plain_links.contains(prefix))
            continue;
        H5L_info_t link;
        std::string name(prefix);
        if (H5Lget_info(file.get(), name.c_str(), &link, H5P_DEFAULT) < 0 ||
            link.type != H5L_TYPE_HARD) {
            H5Eclear2(H5E_DEFAULT);
            return false;
        }
        plain_links.insert(std::move(name));
    }
    return true;
}

Id Hdf5Reader::State::open(std::string_view path) const
{
    if (!exists(path))
        throw damaged(path, "not in the file");
    Id object(H5Oopen(file.get(), std::string(path).c_str(), H5P_DEFAULT), H5Oclose);
    if (!object.valid())
        throw damaged(path, "cannot be opened: " + hdf5::take_reason());
    return object;
}

Id Hdf5Reader::State::open_dataset(std::string_view path) const
{
    Id object = open(path);
    if (H5Iget_type(object.get()) != H5I_DATASET)
        throw damaged(path, "is not a dataset");
    return object;
}

Hdf5DatasetInfo Hdf5Reader::State::info(hid_t dataset, std::string_view path) const
{
    // Raw data in other files (external, virtual) would let a file show what is not in it. Asked
    // first: HDF5 opens the files behind a virtual dataset to tell its extents.
    const Id properties(H5Dget_create_plist(dataset), H5Pclose);
    if (!properties.valid())
        throw damaged(path, "has a damaged header: " + hdf5::take_reason());
    const H5D_layout_t layout = H5Pget_layout(properties.get());
    if ((layout != H5D_CONTIGUOUS && layout != H5D_COMPACT) ||
        H5Pget_external_count(properties.get()) != 0)
        throw damaged(path, "is not stored contiguously in this file");

    const Id type(H5Dget_type(dataset), H5Tclose);
    const Id space(H5Dget_space(dataset), H5Sclose);
    if (!type.valid() || !space.valid())
        throw damaged(path, "has a damaged header: " + hdf5::take_reason());
    const auto element_type = type_of(type.get());
    if (!element_type)
        throw damaged(path, "has an element type that this program does not use");
    const H5S_class_t kind = H5Sget_simple_extent_type(space.get());
    if (kind != H5S_SCALAR && kind != H5S_SIMPLE)
        throw damaged(path, "has no extents");
    Hdf5DatasetInfo found{.type = *element_type, .extents = {}, .file_offset = {}, .num_bytes = 0};
    const int rank = H5Sget_simple_extent_ndims(space.get());
    std::vector<hsize_t> extents(static_cast<std::size_t>(std::max(rank, 0)));
    if (rank > 0 && H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr) < 0)
        throw damaged(path, "has damaged extents: " + hdf5::take_reason());
    found.extents.assign(extents.begin(), extents.end());
    const auto num_bytes = checked_bytes(found.extents, H5Tget_size(type.get()));
    if (!num_bytes || *num_bytes > size_bytes)
        throw damaged(path, "claims more bytes than the file has");
    found.num_bytes = *num_bytes;
    const haddr_t offset =
        layout == H5D_CONTIGUOUS && *num_bytes > 0 ? H5Dget_offset(dataset) : HADDR_UNDEF;
    H5Eclear2(H5E_DEFAULT);
    if (offset != HADDR_UNDEF) {
        if (offset > size_bytes || *num_bytes > size_bytes - offset)
            throw damaged(path, "reaches beyond the end of the file");
        if (found.type != Hdf5Type::text)
            found.file_offset = offset;
    }
    return found;
}

Hdf5Reader::Hdf5Reader(const fs::path& path) : state_(std::make_unique<State>())
{
    hdf5::prepare_thread();
    state_->name = path.string();
    std::error_code error;
    state_->size_bytes = fs::file_size(path, error);
    if (error)
        throw data_error("cannot open the file: " + error.message(), state_->name,
                         "check the path");
    // What keeps it from being opened at all, as a limit of open files, is no fault of the file's.
    const int trial = retried([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); });
    if (trial < 0)
        throw file_error("open", path, errno);
    ::close(trial);
    const Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 10, 7)
    // Nobody writes a finished file, and locks fail on some network and read-only file systems.
    H5Pset_file_locking(access.get(), false, true);
#endif
    state_->file = Id(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
    if (!state_->file.valid())
        throw data_error(
            "not a whole HDF5 file: " + hdf5::take_reason(), state_->name,
            "the file is damaged, cut short, or of another kind: restore or remake it");
}

Hdf5Reader::Hdf5Reader(std::span<const std::byte> image, std::string name)
    : state_(std::make_unique<State>())
{
    hdf5::prepare_thread();
    state_->name = std::move(name);
    state_->size_bytes = image.size();
    const Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    bool set = !image.empty() && H5Pset_fapl_core(access.get(), std::size_t{1} << 16, 0) >= 0;
    // HDF5 refuses an image under the name of a file that exists.
    const std::string label = "image of " + state_->name;
    // HDF5 copies the image; its signature lacks const.
    set = set &&
          H5Pset_file_image(access.get(), const_cast<std::byte*>(image.data()), image.size()) >= 0;
    H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
    if (set)
        state_->file = Id(H5Fopen(label.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
    if (!state_->file.valid())
        throw data_error(
            "not a whole HDF5 file: " + hdf5::take_reason(), state_->name,
            "the file is damaged, cut short, or of another kind: restore or remake it");
}

Hdf5Reader::~Hdf5Reader()
{
    if (!state_)
        return;
    hdf5::prepare_thread();
    state_->file.close();
    H5Eclear2(H5E_DEFAULT);
}
Hdf5Reader::Hdf5Reader(Hdf5Reader&&) noexcept = default;

bool Hdf5Reader::exists(std::string_view path) const { return state_->exists(path); }

Hdf5DatasetInfo Hdf5Reader::dataset(std::string_view path) const
{
    const Id dataset = state_->open_dataset(path);
    return state_->info(dataset.get(), path);
}

void Hdf5Reader::read_dataset(std::string_view path, Hdf5Type type, std::span<std::byte> into) const
{
    const Id dataset = state_->open_dataset(path);
    const Hdf5DatasetInfo info = state_->info(dataset.get(), path);
    if (info.type != type || type == Hdf5Type::text)
        throw state_->damaged(path, "has elements of type " + std::string(name_of(info.type)) +
                                        ", expected " + std::string(name_of(type)));
    if (info.num_bytes != into.size())
        throw state_->damaged(path, "has " + std::to_string(info.num_bytes) + " bytes, expected " +
                                        std::to_string(into.size()));
    if (!into.empty() && H5Dread(dataset.get(), hdf5::number_type(type), H5S_ALL, H5S_ALL,
                                 H5P_DEFAULT, into.data()) < 0)
        throw state_->damaged(path, "cannot be read: " + hdf5::take_reason());
}

template <class T>
std::vector<T> Hdf5Reader::read_vector(std::string_view path, std::uint64_t max_elements) const
{
    constexpr Hdf5Type type = [] {
        if constexpr (std::is_same_v<T, float>)
            return Hdf5Type::f32;
        else if constexpr (std::is_same_v<T, double>)
            return Hdf5Type::f64;
        else if constexpr (std::is_same_v<T, std::int32_t>)
            return Hdf5Type::i32;
        else if constexpr (std::is_same_v<T, std::int64_t>)
            return Hdf5Type::i64;
        else if constexpr (std::is_same_v<T, std::uint16_t>)
            return Hdf5Type::u16;
        else if constexpr (std::is_same_v<T, std::uint32_t>)
            return Hdf5Type::u32;
        else
            return Hdf5Type::u64;
    }();
    const Hdf5DatasetInfo info = dataset(path);
    if (info.extents.size() != 1 || info.extents[0] > max_elements)
        throw state_->damaged(path, "is not a list of at most " + std::to_string(max_elements) +
                                        " numbers");
    std::vector<T> values(static_cast<std::size_t>(info.extents[0]));
    read_dataset(path, type, std::as_writable_bytes(std::span(values)));
    return values;
}

template std::vector<double> Hdf5Reader::read_vector(std::string_view, std::uint64_t) const;
template std::vector<std::int64_t> Hdf5Reader::read_vector(std::string_view, std::uint64_t) const;
template std::vector<std::uint16_t> Hdf5Reader::read_vector(std::string_view, std::uint64_t) const;
template std::vector<std::uint64_t> Hdf5Reader::read_vector(std::string_view, std::uint64_t) const;

std::string Hdf5Reader::read_text(std::string_view path) const
{
    const Id dataset = state_->open_dataset(path);
    const Hdf5DatasetInfo info = state_->info(dataset.get(), path);
    if (info.type != Hdf5Type::text || !info.extents.empty() || info.num_bytes > max_text_bytes)
        throw state_->damaged(path, "is not a text");
    const Id type(H5Dget_type(dataset.get()), H5Tclose);
    std::string text(static_cast<std::size_t>(info.num_bytes), '\0');
    if (H5Dread(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()) < 0)
        throw state_->damaged(path, "cannot be read: " + hdf5::take_reason());
    text.resize(std::strlen(text.c_str()));
    return text;
}

} // namespace sluice
