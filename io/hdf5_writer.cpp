#include "core/checksum.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/hdf5_durable_driver.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <set>
#include <unistd.h>

namespace sluice {

namespace fs = std::filesystem;
using hdf5::Id;

struct Hdf5Writer::State {
    fs::path path;
    hdf5::DurableSink sink;
    std::set<std::string> groups; ///< created so far
    Id file;
    bool committed = false;

    explicit State(const fs::path& final_path);
    ~State();

    /// Throws when the disk has failed, or else when HDF5 has.
    void check(bool succeeded, std::string_view what) const;
    Id create(std::string_view object, hid_t type, std::span<const std::uint64_t> extents) const;
    Id write(std::string_view object, hid_t type, std::span<const std::uint64_t> extents,
             const void* data) const;
};

void Hdf5Writer::State::check(bool succeeded, std::string_view what) const
{
    if (sink.error_number != 0) {
        H5Eclear2(H5E_DEFAULT);
        throw file_error(sink.error_call, path, sink.error_number);
    }
    if (!succeeded)
        throw data_error("HDF5 cannot write " + std::string(what) + ": " + hdf5::take_reason(),
                         path.string());
}

Hdf5Writer::State::State(const fs::path& final_path) : path(replaceable_file(final_path))
{
    hdf5::prepare_thread();
    report_size_limit_as_error();
    sink.path = path.string() + ".partial";
    sink.descriptor = retried(
        [&] { return ::open(sink.path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666); });
    if (sink.descriptor < 0)
        throw file_error("open", path, errno);
    Id access = hdf5::durable_file_access(sink);
    // 64-byte alignment of all but the smallest lets readers map datasets; the 1.8 format has
    // checksummed metadata and groups of any size.
    Id creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    const bool made = H5Pset_alignment(access.get(), 4096, 64) >= 0 &&
                      H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_LATEST) >= 0 &&
                      H5Pset_obj_track_times(creation.get(), false) >= 0;
    if (made)
        file =
            Id(H5Fcreate(sink.path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose);
    if (!file.valid()) {
        const std::string reason = hdf5::take_reason();
        ::close(sink.descriptor);
        ::unlink(sink.path.c_str());
        throw data_error("HDF5 cannot create the file: " + reason, path.string());
    }
}

Hdf5Writer::State::~State()
{
    hdf5::prepare_thread();
    if (!committed)
        sink.fail("abandoned", ECANCELED); // nothing more needs to reach the disk
    file.close();
    H5Eclear2(H5E_DEFAULT);
    if (sink.descriptor >= 0)
        ::close(sink.descriptor);
    if (!committed)
        ::unlink(sink.path.c_str());
}

Id Hdf5Writer::State::create(std::string_view object, hid_t type,
                             std::span<const std::uint64_t> extents) const
{
    hdf5::prepare_thread();
    const std::vector<hsize_t> sizes(extents.begin(), extents.end());
    const Id space(sizes.empty()
                       ? H5Screate(H5S_SCALAR)
                       : H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr),
                   H5Sclose);
    // Space is taken at once so that offsets are known; it is not zeroed first, as everything is
    // written. Without times the same contents give the same bytes.
    const Id properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    const bool set = space.valid() && properties.valid() &&
                     H5Pset_layout(properties.get(), H5D_CONTIGUOUS) >= 0 &&
                     H5Pset_alloc_time(properties.get(), H5D_ALLOC_TIME_EARLY) >= 0 &&
                     H5Pset_fill_time(properties.get(), H5D_FILL_TIME_NEVER) >= 0 &&
                     H5Pset_obj_track_times(properties.get(), false) >= 0;
    check(set, object);
    Id dataset(H5Dcreate2(file.get(), std::string(object).c_str(), type, space.get(), H5P_DEFAULT,
                          properties.get(), H5P_DEFAULT),
               H5Dclose);
    check(dataset.valid(), object);
    return dataset;
}

Id Hdf5Writer::State::write(std::string_view object, hid_t type,
                            std::span<const std::uint64_t> extents, const void* data) const
{
    Id dataset = create(object, type, extents);
    std::uint64_t count = 1;
    for (const std::uint64_t extent : extents)
        count *= extent;
    if (count > 0)
        check(H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0, object);
    return dataset;
}

Hdf5Writer::Hdf5Writer(const fs::path& path) : state_(std::make_unique<State>(path)) {}
Hdf5Writer::~Hdf5Writer() = default;
Hdf5Writer::Hdf5Writer(Hdf5Writer&&) noexcept = default;

void Hdf5Writer::create_group(std::string_view path)
{
    hdf5::prepare_thread();
    std::string prefix;
    std::size_t begin = 1;
    while (begin < path.size()) {
        const std::size_t end = std::min(path.find('/', begin), path.size());
        prefix = path.substr(0, end);
        begin = end + 1;
        if (!state_->groups.insert(prefix).second)
            continue;
        const Id properties(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
        H5Pset_obj_track_times(properties.get(), false);
        const Id group(H5Gcreate2(state_->file.get(), prefix.c_str(), H5P_DEFAULT, properties.get(),
                                  H5P_DEFAULT),
                       H5Gclose);
        state_->check(group.valid(), prefix);
    }
}

std::optional<std::uint64_t> Hdf5Writer::write_dataset(std::string_view path, Hdf5Type type,
                                                       std::span<const std::uint64_t> extents,
                                                       std::span<const std::byte> bytes)
{
    std::uint64_t count = 1;
    for (const std::uint64_t extent : extents)
        count *= extent;
    SLUICE_CHECK(bytes.size() == count * size_of(type),
                 path << ": " << bytes.size() << " bytes for " << count << " elements");
    create_group(fs::path(path).parent_path().string());
    const Id dataset = state_->write(path, hdf5::number_type(type), extents, bytes.data());
    const haddr_t offset = count > 0 ? H5Dget_offset(dataset.get()) : HADDR_UNDEF;
    return offset == HADDR_UNDEF ? std::nullopt : std::optional<std::uint64_t>(offset);
}

HashedDataset Hdf5Writer::write_hashed_dataset(std::string_view path, Hdf5Type type,
                                               std::span<const std::uint64_t> extents,
                                               std::span<const std::byte> bytes)
{
    SLUICE_CHECK(!bytes.empty(), path << " is empty");
    create_group(fs::path(path).parent_path().string());
    const Id dataset = state_->create(path, hdf5::number_type(type), extents);
    SLUICE_CHECK(H5Dget_storage_size(dataset.get()) == bytes.size(),
                 path << ": " << bytes.size() << " bytes");
    const haddr_t offset = H5Dget_offset(dataset.get());
    state_->check(offset != HADDR_UNDEF, path);
    // HDF5 has given the place; the bytes go there without it, each block while it is still in the
    // cache from hashing.
    constexpr std::size_t block_bytes = std::size_t{1} << 20;
    Checksum checksum;
    for (std::size_t begin = 0; begin < bytes.size(); begin += block_bytes) {
        const auto block = bytes.subspan(begin, std::min(block_bytes, bytes.size() - begin));
        checksum.update(block);
        hdf5::write_at(state_->sink, offset + begin, block);
    }
    HashedDataset written{offset, checksum.hex()};
    set_attribute(path, "checksum", written.checksum);
    return written;
}

void Hdf5Writer::write_text(std::string_view path, std::string_view text)
{
    create_group(fs::path(path).parent_path().string());
    const Id type = hdf5::text_type(text.size());
    const char zero = 0;
    state_->write(path, type.get(), {}, text.empty() ? &zero : text.data());
}

void Hdf5Writer::create_dataset(std::string_view path, Hdf5Type type,
                                std::span<const std::uint64_t> extents)
{
    create_group(fs::path(path).parent_path().string());
    state_->create(path, hdf5::number_type(type), extents);
}

void Hdf5Writer::write_elements(std::string_view path, std::uint64_t first,
                                std::span<const std::byte> bytes)
{
    hdf5::prepare_thread();
    if (bytes.empty())
        return;
    const Id dataset(H5Dopen2(state_->file.get(), std::string(path).c_str(), H5P_DEFAULT),
                     H5Dclose);
    state_->check(dataset.valid(), path);
    const Id type(H5Dget_type(dataset.get()), H5Tclose);
    const Id space(H5Dget_space(dataset.get()), H5Sclose);
    const std::size_t element_bytes = H5Tget_size(type.get());
    SLUICE_CHECK(element_bytes > 0 && bytes.size() % element_bytes == 0,
                 bytes.size() << " bytes of elements of " << element_bytes);
    const hsize_t start = first;
    const hsize_t count = bytes.size() / element_bytes;
    const hssize_t total = H5Sget_simple_extent_npoints(space.get());
    SLUICE_CHECK(H5Sget_simple_extent_ndims(space.get()) == 1 &&
                     first + count <= static_cast<std::uint64_t>(total),
                 path << ": [" << first << ", +" << count << ") of " << total);
    const Id memory(H5Screate_simple(1, &count, nullptr), H5Sclose);
    state_->check(
        H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, &start, nullptr, &count, nullptr) >= 0 &&
            H5Dwrite(dataset.get(), type.get(), memory.get(), space.get(), H5P_DEFAULT,
                     bytes.data()) >= 0,
        path);
}

void Hdf5Writer::link_external(std::string_view path, std::string_view file,
                               std::string_view target)
{
    create_group(fs::path(path).parent_path().string());
    state_->check(H5Lcreate_external(std::string(file).c_str(), std::string(target).c_str(),
                                     state_->file.get(), std::string(path).c_str(), H5P_DEFAULT,
                                     H5P_DEFAULT) >= 0,
                  path);
}

void Hdf5Writer::set_attribute(std::string_view object, std::string_view name,
                               const Hdf5Attribute& value)
{
    hdf5::prepare_thread();
    Id owned_type;
    hid_t type = H5I_INVALID_HID;
    const void* data = nullptr;
    std::string text;
    if (const auto* string = std::get_if<std::string>(&value)) {
        SLUICE_CHECK(string->size() <= hdf5_max_attribute_bytes,
                     "attribute " << name << " has " << string->size() << " bytes");
        owned_type = hdf5::text_type(string->size());
        type = owned_type.get();
        data = string->c_str(); // with its final zero: an empty text is one zero byte
    } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
        type = hdf5::number_type(Hdf5Type::i64);
        data = integer;
    } else if (const auto* natural = std::get_if<std::uint64_t>(&value)) {
        type = hdf5::number_type(Hdf5Type::u64);
        data = natural;
    } else {
        type = hdf5::number_type(Hdf5Type::f64);
        data = &std::get<double>(value);
    }
    const Id space(H5Screate(H5S_SCALAR), H5Sclose);
    const Id attribute(H5Acreate_by_name(state_->file.get(), std::string(object).c_str(),
                                         std::string(name).c_str(), type, space.get(), H5P_DEFAULT,
                                         H5P_DEFAULT, H5P_DEFAULT),
                       H5Aclose);
    state_->check(attribute.valid() && H5Awrite(attribute.get(), type, data) >= 0,
                  std::string(object) + " attribute " + std::string(name));
}

Hdf5FileSummary Hdf5Writer::commit()
{
    hdf5::prepare_thread();
    State& state = *state_;
    const bool closed = state.file.close();
    state.check(closed, "the end of the file");
    // Read back from memory while the disk still writes.
    Hdf5FileSummary summary;
    summary.checksum = checksum_of_file(state.sink.path);
    if (retried([&] { return ::fsync(state.sink.descriptor); }) != 0)
        throw file_error("fsync", state.path, errno);
    const off_t size = ::lseek(state.sink.descriptor, 0, SEEK_END);
    if (size < 0)
        throw file_error("lseek", state.path, errno);
    summary.size_bytes = static_cast<std::uint64_t>(size);
    const int descriptor = std::exchange(state.sink.descriptor, -1);
    if (::close(descriptor) != 0 && errno != EINTR)
        throw file_error("close", state.path, errno);
    rename_durably(state.sink.path, state.path);
    state.committed = true;
    return summary;
}

} // namespace sluice
