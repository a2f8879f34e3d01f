// HDF5 files through the serial C library: RAII, errors as UserError, nothing printed by HDF5.
//
// HDF5 itself calls no fsync, and on a full disk its flush and close can report success over data
// that was never written. A file is therefore written through a driver of our own: it remembers the
// first failed system call, tells HDF5 that all is well so that closing stays orderly, and commit()
// throws what it remembered. The final name appears only after write, fsync and rename succeeded.
//
// Paths of objects start with '/'. Numbers are little-endian; datasets are contiguous. One thread
// at a time per object.
#pragma once

#include "core/dtype.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sluice {

enum class Hdf5Type : std::uint8_t { f32, f64, i32, i64, u16, u32, u64, text };

std::string_view name_of(Hdf5Type type); ///< "f32", ..., "text"
std::size_t size_of(Hdf5Type type);      ///< bytes per element; 1 for text
Hdf5Type hdf5_type_of(DType dtype);      ///< bf16 is a broken invariant: it has no type here

/// Value of an attribute. Text is fixed-length UTF-8. At most 64 KB: lists that grow are datasets.
using Hdf5Attribute = std::variant<std::string, std::int64_t, std::uint64_t, double>;

struct Hdf5DatasetInfo {
    Hdf5Type type = Hdf5Type::f32;
    std::vector<std::uint64_t> extents;
    /// Where the bytes lie in the file, checked to be inside it; empty for text, for a dataset of
    /// no elements, and for one that is not contiguous.
    std::optional<std::uint64_t> file_offset;
    std::uint64_t num_bytes = 0;
};

struct HashedDataset {
    std::uint64_t file_offset = 0;
    std::string checksum;
};

/// Size and XXH3-128 checksum of a finished file, read back from the file after it was written.
struct Hdf5FileSummary {
    std::uint64_t size_bytes = 0;
    std::string checksum;
};

/// Writes a new file. Every failure is a UserError (data) that names the file and the cause.
class Hdf5Writer {
public:
    /// Creates `<file>.partial`, where the file is replaceable_file(`path`), which is not touched
    /// before commit().
    explicit Hdf5Writer(const std::filesystem::path& path);
    /// Without commit() the partial file is deleted.
    ~Hdf5Writer();
    Hdf5Writer(Hdf5Writer&&) noexcept;

    /// Also creates the groups above it; existing groups are fine.
    void create_group(std::string_view path);
    /// Creates a contiguous dataset (and the groups above it) and writes it whole. Returns where
    /// its bytes lie in the file; empty when it has none.
    std::optional<std::uint64_t> write_dataset(std::string_view path, Hdf5Type type,
                                               std::span<const std::uint64_t> extents,
                                               std::span<const std::byte> bytes);
    /// The same, for large tensors: with an attribute `checksum` of the bytes (XXH3-128, computed
    /// while they are written, so that they come from memory once). At least one element.
    HashedDataset write_hashed_dataset(std::string_view path, Hdf5Type type,
                                       std::span<const std::uint64_t> extents,
                                       std::span<const std::byte> bytes);
    void write_text(std::string_view path, std::string_view text);
    /// For datasets that arrive in pieces: creates it contiguous and unwritten ...
    void create_dataset(std::string_view path, Hdf5Type type,
                        std::span<const std::uint64_t> extents);
    /// ... and fills elements [first, first + bytes / size) of a 1-D dataset, in any order.
    void write_elements(std::string_view path, std::uint64_t first,
                        std::span<const std::byte> bytes);
    /// `path` shows the object `target` of the file `file` (name relative to this file's folder).
    void link_external(std::string_view path, std::string_view file, std::string_view target);
    /// `object` is an existing group or dataset, "/" for the root.
    void set_attribute(std::string_view object, std::string_view name, const Hdf5Attribute& value);

    /// Closes, reads back for the checksum, fsyncs, renames to the final name, fsyncs the folder.
    Hdf5FileSummary commit();

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// A link that leads to another file; `file` and `target` are empty for other kinds (soft links).
struct Hdf5Link {
    std::string path, file, target;
};

/// Reads a file that may be damaged: whatever is in it, the outcome is a value or a UserError
/// (data) that names the file. Callers verify a checksum first where they have one.
class Hdf5Reader {
public:
    /// Opens for reading only.
    explicit Hdf5Reader(const std::filesystem::path& path);
    /// Opens bytes in memory (copied); `name` stands for the file in messages.
    Hdf5Reader(std::span<const std::byte> image, std::string name);
    ~Hdf5Reader();
    Hdf5Reader(Hdf5Reader&&) noexcept;

    bool exists(std::string_view path) const;
    Hdf5DatasetInfo dataset(std::string_view path) const;
    /// The whole dataset; its type must be `type` and its size that of `into`.
    void read_dataset(std::string_view path, Hdf5Type type, std::span<std::byte> into) const;
    /// A 1-D dataset of any length up to `max_elements`. T: float, double, int32_t, int64_t,
    /// uint16_t, uint32_t, uint64_t.
    template <class T>
    std::vector<T> read_vector(std::string_view path, std::uint64_t max_elements) const;
    std::string read_text(std::string_view path) const;

    /// Empty when there is no such attribute. Integers of other widths are widened.
    std::optional<Hdf5Attribute> attribute(std::string_view object, std::string_view name) const;
    /// As above; a missing attribute or one of another kind is an error.
    std::string text_attribute(std::string_view object, std::string_view name) const;
    std::int64_t int64_attribute(std::string_view object, std::string_view name) const;
    std::uint64_t uint64_attribute(std::string_view object, std::string_view name) const;

    /// Paths of all datasets below `group`, sorted; links to other files are not followed.
    std::vector<std::string> datasets_below(std::string_view group) const;
    /// Every link that is not an ordinary one, sorted by path.
    std::vector<Hdf5Link> foreign_links() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// 64 KB is HDF5's limit for an attribute; set_attribute() refuses longer text.
inline constexpr std::size_t hdf5_max_attribute_bytes = 64000;

} // namespace sluice
