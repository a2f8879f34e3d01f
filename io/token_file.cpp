#include "io/token_file.hpp"

#include "core/checksum.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/hdf5_file.hpp"
#include "io/trial_reading.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace sluice {

namespace {

constexpr const char* prepare_again =
    "prepare it again with `sluice data prepare`, or copy it again";

/// Widens ids that lie at the end of `out`, and returns the largest: each is read before its bytes
/// are written.
template <class Id>
Id widen(std::span<std::int32_t> out)
{
    const std::byte* const bytes = std::as_bytes(out).last(out.size() * sizeof(Id)).data();
    Id largest = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
        Id id;
        std::memcpy(&id, bytes + i * sizeof(Id), sizeof(Id));
        largest = std::max(largest, id);
        out[i] = static_cast<std::int32_t>(id);
    }
    return largest;
}

/// A whole file in memory, for as long as this lives, and open.
class FileMap {
public:
    explicit FileMap(const std::filesystem::path& path)
    {
        if (std::filesystem::is_directory(path))
            throw data_error("this is a folder", path.string(),
                             "give a file that `sluice data prepare` wrote");
        // O_NONBLOCK: a pipe has no end to wait for; it is refused as an empty file.
        descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        struct stat status {};
        if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0)
            fail("open", path);
        size_ = static_cast<std::size_t>(status.st_size);
        written_ = status.st_mtim;
        memory_ =
            size_ == 0 ? nullptr : ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor_, 0);
        if (memory_ == MAP_FAILED) {
            memory_ = nullptr;
            fail("mmap", path);
        }
    }
    ~FileMap() { release(); }
    FileMap(const FileMap&) = delete;
    FileMap& operator=(const FileMap&) = delete;

    std::span<const std::byte> bytes() const
    {
        return {static_cast<const std::byte*>(memory_), size_};
    }

    int descriptor() const { return descriptor_; }
    bool was_written_to() const
    {
        struct stat now {};
        return ::fstat(descriptor_, &now) == 0 &&
               (now.st_mtim.tv_sec != written_.tv_sec || now.st_mtim.tv_nsec != written_.tv_nsec);
    }

private:
    [[noreturn]] void fail(const char* call, const std::filesystem::path& path)
    {
        const int error = errno;
        release();
        throw file_error(call, path, error);
    }
    void release() const
    {
        if (memory_ != nullptr)
            ::munmap(memory_, size_);
        if (descriptor_ >= 0)
            ::close(descriptor_);
    }

    int descriptor_ = -1;
    void* memory_ = nullptr;
    std::size_t size_ = 0;
    timespec written_{};
};

UserError not_a_token_file(const std::filesystem::path& path, const std::string& why)
{
    return data_error("not a token file of this program: " + why, path.string(),
                      "give a file that `sluice data prepare` wrote");
}

UserError damaged(const std::filesystem::path& path, const std::string& how)
{
    return data_error("damaged token file: " + how, path.string(), prepare_again);
}

void check_format(const Hdf5Reader& file, const std::filesystem::path& path)
{
    const auto format = file.attribute("/", "format");
    if (!format || !std::holds_alternative<std::string>(*format))
        throw not_a_token_file(path, "it is HDF5 without an attribute 'format'");
    if (std::get<std::string>(*format) != "sluice-tokens")
        throw not_a_token_file(path, "its format is '" + std::get<std::string>(*format) + "'");
    const std::int64_t version = file.int64_attribute("/", "format_version");
    if (version != token_format_version)
        throw data_error("token format version " + std::to_string(version) +
                             "; this program reads version " + std::to_string(token_format_version),
                         path.string(), "prepare it again, or use a newer `sluice`");
}

TokenFileInfo read_info(const Hdf5Reader& file)
{
    TokenFileInfo info;
    info.num_tokens = file.uint64_attribute("/", "num_tokens");
    info.num_documents = file.uint64_attribute("/", "num_documents");
    // Ids are handed out as i32, so a larger vocabulary is as good as none: refused below.
    constexpr std::uint64_t too_large = std::uint64_t{1} << 31;
    info.vocab_size =
        static_cast<std::uint32_t>(std::min(file.uint64_attribute("/", "vocab_size"), too_large));
    info.end_token =
        static_cast<std::uint32_t>(std::min(file.uint64_attribute("/", "end_token"), too_large));
    info.tokenizer = file.text_attribute("/", "tokenizer");
    info.checksum = file.text_attribute("/", "checksum");
    info.inputs_digest = file.text_attribute("/", "inputs_digest");
    info.split = file.text_attribute("/", "split");
    info.created_by = file.text_attribute("/", "created_by");
    return info;
}

std::string missing_part(const Hdf5Reader& file, std::string_view dataset)
{
    return file.exists(dataset) ? "" : "it has no " + std::string(dataset);
}

} // namespace

struct TokenFile::Map {
    explicit Map(const std::filesystem::path& file_path) : path(file_path), file(file_path)
    {
        if (file.bytes().empty())
            throw damaged(path, "it is empty");
        read_after_trial(path.string(), "HDF5", [&] { read_contents(Hdf5Reader(path)); });
        if (info.num_tokens == 0)
            throw damaged(path, "it holds no tokens");
        if (info.vocab_size >= std::uint32_t{1} << 31 || info.end_token >= info.vocab_size)
            throw damaged(path, "vocab_size " + std::to_string(info.vocab_size) +
                                    " and end_token " + std::to_string(info.end_token) +
                                    " do not fit each other");
    }

    /// What HDF5 knows of the file: what it says of itself, and where its datasets lie.
    void read_contents(const Hdf5Reader& hdf5)
    {
        check_format(hdf5, path);
        for (const char* dataset : {"/tokens", "/document_offsets"})
            if (const std::string why = missing_part(hdf5, dataset); !why.empty())
                throw damaged(path, why);
        info = read_info(hdf5);
        if (info.num_documents == ~std::uint64_t{0}) // one more offset than documents
            throw damaged(path, "/document_offsets cannot be longer than num_documents = 2^64-1");
        tokens = bytes_of(hdf5.dataset("/tokens"), info.num_tokens, "/tokens");
        offsets = bytes_of(hdf5.dataset("/document_offsets"), info.num_documents + 1,
                           "/document_offsets");
        const Hdf5Type type = hdf5.dataset("/tokens").type;
        if (type != Hdf5Type::u16 && type != Hdf5Type::u32)
            throw damaged(path, "/tokens has elements of type " + std::string(name_of(type)) +
                                    ", not u16 or u32");
        if (hdf5.dataset("/document_offsets").type != Hdf5Type::u64)
            throw damaged(path, "/document_offsets is not u64");
        info.dtype = type == Hdf5Type::u16 ? DType::u16 : DType::u32;
    }

    /// The dataset's bytes in the map.
    std::span<const std::byte> bytes_of(const Hdf5DatasetInfo& dataset, std::uint64_t expected,
                                        const char* name) const
    {
        if (dataset.extents.size() != 1 || dataset.extents[0] != expected)
            throw damaged(path, std::string(name) + " does not have the " +
                                    std::to_string(expected) + " elements that the attributes say");
        if (expected == 0)
            return {};
        if (!dataset.file_offset)
            throw damaged(path, std::string(name) + " is not contiguous");
        const std::uint64_t size = file.bytes().size();
        if (*dataset.file_offset > size || dataset.num_bytes > size - *dataset.file_offset)
            throw damaged(path, std::string(name) + " reaches beyond the end of the file");
        return file.bytes().subspan(*dataset.file_offset, dataset.num_bytes);
    }

    /// From that byte of the tokens on; returns how many bytes there are.
    std::size_t read_tokens(std::uint64_t first_byte, std::span<std::byte> into) const
    {
        const auto place = static_cast<std::uint64_t>(tokens.data() - file.bytes().data());
        return read_at(file.descriptor(), place + first_byte, into, path);
    }

    std::uint64_t offset(std::uint64_t document) const
    {
        std::uint64_t value = 0;
        std::memcpy(&value, offsets.data() + document * sizeof value, sizeof value);
        return value;
    }

    std::uint32_t token(std::uint64_t position) const
    {
        if (info.dtype == DType::u16) {
            std::uint16_t id = 0;
            std::memcpy(&id, tokens.data() + position * sizeof id, sizeof id);
            return id;
        }
        std::uint32_t id = 0;
        std::memcpy(&id, tokens.data() + position * sizeof id, sizeof id);
        return id;
    }

    /// Somewhere in [begin, begin + count) is an id outside the vocabulary.
    [[noreturn]] void throw_outside_vocabulary(std::uint64_t begin, std::uint64_t count) const
    {
        std::uint64_t position = begin;
        while (position + 1 < begin + count && token(position) < info.vocab_size)
            ++position;
        throw damaged(path, "token " + std::to_string(position) + " has id " +
                                std::to_string(token(position)) + ", outside the vocabulary of " +
                                std::to_string(info.vocab_size));
    }

    void verify_documents() const
    {
        if (offset(0) != 0 || offset(info.num_documents) != info.num_tokens)
            throw damaged(path, "the documents do not cover the tokens");
        for (std::uint64_t document = 0; document < info.num_documents; ++document) {
            const std::uint64_t end = offset(document + 1);
            if (end <= offset(document) || end > info.num_tokens)
                throw damaged(path, "document " + std::to_string(document) +
                                        " has offsets that do not increase");
            if (token(end - 1) != info.end_token)
                throw damaged(path, "document " + std::to_string(document) +
                                        " does not end in the end token");
        }
    }

    std::filesystem::path path;
    FileMap file;
    TokenFileInfo info;
    std::span<const std::byte> tokens, offsets;
};

TokenFile::TokenFile(const std::filesystem::path& path) : map_(std::make_unique<Map>(path)) {}
TokenFile::~TokenFile() = default;
TokenFile::TokenFile(TokenFile&&) noexcept = default;

const TokenFileInfo& TokenFile::info() const { return map_->info; }
const std::filesystem::path& TokenFile::path() const { return map_->path; }

bool TokenFile::was_written_to() const { return map_->file.was_written_to(); }

void TokenFile::read(std::uint64_t begin, std::span<std::int32_t> out) const
{
    const TokenFileInfo& info = map_->info;
    SLUICE_CHECK(begin <= info.num_tokens && out.size() <= info.num_tokens - begin,
                 "tokens " << begin << " + " << out.size() << " of " << info.num_tokens);
    // Not out of the map, which ends the process (SIGBUS) where the file has become shorter or its
    // file system fails.
    const std::size_t width = size_of(info.dtype);
    const std::span<std::byte> ids = std::as_writable_bytes(out).last(out.size() * width);
    if (map_->read_tokens(begin * width, ids) != ids.size())
        throw damaged(map_->path, "it has become shorter since it was opened");
    const std::uint32_t largest =
        info.dtype == DType::u16 ? widen<std::uint16_t>(out) : widen<std::uint32_t>(out);
    if (largest >= info.vocab_size)
        map_->throw_outside_vocabulary(begin, out.size());
}

void TokenFile::verify() const
{
    const TokenFileInfo& info = map_->info;
    if (const std::string found = checksum_of(map_->tokens); found != info.checksum)
        throw damaged(map_->path, "the checksum of its tokens is " + found + ", and it should be " +
                                      info.checksum);
    std::vector<std::int32_t> chunk(std::min<std::uint64_t>(info.num_tokens, 1u << 16));
    for (std::uint64_t begin = 0; begin < info.num_tokens; begin += chunk.size())
        read(begin, std::span(chunk).first(
                        std::min<std::uint64_t>(chunk.size(), info.num_tokens - begin)));
    map_->verify_documents();
}

} // namespace sluice
