#include "io/hdf5_durable_driver.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"

#if H5_VERSION_GE(1, 13, 2)
#include <H5FDdevelop.h>
#endif

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace sluice::hdf5 {

namespace {

/// What H5Pset_driver copies into the property list.
struct DriverInfo {
    DurableSink* sink;
};

/// HDF5 keeps its own fields in `base`, which must come first.
struct DriverFile {
    H5FD_t base;
    DurableSink* sink;
    haddr_t end_of_allocation;
};

/// The least of which the disk is told at once, and the most that is handed over in one call.
constexpr size_t large_bytes = size_t{1} << 20, block_bytes = size_t{8} << 20;

constexpr haddr_t max_address = (haddr_t{1} << 62) - 1;

DriverFile* file_of(H5FD_t* file) { return reinterpret_cast<DriverFile*>(file); }
const DriverFile* file_of(const H5FD_t* file) { return reinterpret_cast<const DriverFile*>(file); }

H5FD_t* open_file(const char*, unsigned, hid_t access, haddr_t)
{
    const auto* info = static_cast<const DriverInfo*>(H5Pget_driver_info(access));
    if (info == nullptr)
        return nullptr;
    return &(new DriverFile{{}, info->sink, 0})->base;
}

herr_t close_file(H5FD_t* file)
{
    delete file_of(file);
    return 0;
}

int compare_files(const H5FD_t* left, const H5FD_t* right)
{
    const DurableSink* a = file_of(left)->sink;
    const DurableSink* b = file_of(right)->sink;
    return a == b ? 0 : (std::less<>{}(a, b) ? -1 : 1);
}

herr_t query(const H5FD_t*, unsigned long* flags)
{
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE;
    return 0;
}

haddr_t get_end_of_allocation(const H5FD_t* file, H5FD_mem_t)
{
    return file_of(file)->end_of_allocation;
}

herr_t set_end_of_allocation(H5FD_t* file, H5FD_mem_t, haddr_t address)
{
    file_of(file)->end_of_allocation = address;
    return 0;
}

haddr_t get_end_of_file(const H5FD_t* file, H5FD_mem_t) { return file_of(file)->sink->end_of_file; }

herr_t read_bytes(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, size_t size, void* buffer)
{
    DurableSink& sink = *file_of(file)->sink;
    auto* to = static_cast<char*>(buffer);
    while (size > 0) {
        const ssize_t got = retried(
            [&] { return ::pread(sink.descriptor, to, size, static_cast<off_t>(address)); });
        if (got < 0)
            sink.fail("read", errno);
        if (got <= 0)
            break;
        to += got;
        address += static_cast<haddr_t>(got);
        size -= static_cast<size_t>(got);
    }
    std::memset(to, 0, size); // beyond the end of the file, as HDF5 expects
    return 0;
}

herr_t write_bytes(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, size_t size,
                   const void* buffer)
{
    write_at(*file_of(file)->sink, address, {static_cast<const std::byte*>(buffer), size});
    return 0;
}

herr_t truncate_file(H5FD_t* file, hid_t, hbool_t)
{
    const haddr_t end = file_of(file)->end_of_allocation;
    DurableSink& sink = *file_of(file)->sink;
    if (sink.end_of_file == end)
        return 0;
    sink.end_of_file = end;
    if (sink.error_number == 0 &&
        retried([&] { return ::ftruncate(sink.descriptor, static_cast<off_t>(end)); }) != 0)
        sink.fail("ftruncate", errno);
    return 0;
}

const H5FD_class_t& driver_class()
{
    // Filled by name: the structure differs between HDF5 1.10 and 1.14.
    static const H5FD_class_t filled = [] {
        static constexpr H5FD_mem_t single_list[H5FD_MEM_NTYPES] = H5FD_FLMAP_SINGLE;
        H5FD_class_t made{};
#if H5_VERSION_GE(1, 13, 2)
        made.version = H5FD_CLASS_VERSION;
        made.value = static_cast<H5FD_class_value_t>(511); // in the range left to applications
#endif
        made.name = "sluice_durable";
        made.maxaddr = max_address;
        made.fc_degree = H5F_CLOSE_STRONG;
        made.fapl_size = sizeof(DriverInfo);
        made.open = open_file;
        made.close = close_file;
        made.cmp = compare_files;
        made.query = query;
        made.get_eoa = get_end_of_allocation;
        made.set_eoa = set_end_of_allocation;
        made.get_eof = get_end_of_file;
        made.read = read_bytes;
        made.write = write_bytes;
        made.truncate = truncate_file;
        std::copy(std::begin(single_list), std::end(single_list), std::begin(made.fl_map));
        return made;
    }();
    return filled;
}

} // namespace

void write_at(DurableSink& sink, std::uint64_t address, std::span<const std::byte> bytes)
{
    sink.end_of_file = std::max(sink.end_of_file, address + bytes.size());
    while (!bytes.empty() && sink.error_number == 0) {
        const ssize_t done = retried([&] {
            return ::pwrite(sink.descriptor, bytes.data(), std::min(bytes.size(), block_bytes),
                            static_cast<off_t>(address));
        });
        if (done <= 0) {
            sink.fail("write", done < 0 ? errno : EIO);
            break;
        }
        // A hint: whatever fails here is told by the fsync.
        if (static_cast<size_t>(done) >= large_bytes)
            ::sync_file_range(sink.descriptor, static_cast<off_t>(address), done,
                              SYNC_FILE_RANGE_WRITE);
        bytes = bytes.subspan(static_cast<size_t>(done));
        address += static_cast<std::uint64_t>(done);
    }
}

Id durable_file_access(DurableSink& sink)
{
    static const hid_t driver = H5FDregister(&driver_class());
    SLUICE_CHECK(driver >= 0, "H5FDregister: " << take_reason());
    const DriverInfo info{&sink};
    Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    const bool made = access.valid() && H5Pset_driver(access.get(), driver, &info) >= 0 &&
                      H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG) >= 0;
    SLUICE_CHECK(made, "file access properties: " << take_reason());
    return access;
}

} // namespace sluice::hdf5
