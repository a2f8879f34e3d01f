#include "io/token_file_writer.hpp"

#include "core/checksum.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/hdf5_file.hpp"
#include "io/output_lock.hpp"

#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>
#include <vector>

namespace sluice {

namespace {

constexpr std::size_t buffer_bytes = std::size_t{1} << 20;

/// An append-only file without a name.
class Spool {
public:
    explicit Spool(const std::filesystem::path& beside) : beside_(beside)
    {
        static std::atomic<int> counter{0};
        report_size_limit_as_error();
        const std::string name = beside.string() + ".spool-" + std::to_string(::getpid()) + "-" +
                                 std::to_string(counter++);
        fd_ = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd_ < 0)
            throw file_error("create", beside, errno);
        ::unlink(name.c_str());
        buffer_.reserve(buffer_bytes);
    }
    ~Spool() { ::close(fd_); }
    Spool(const Spool&) = delete;
    Spool& operator=(const Spool&) = delete;

    void append(std::span<const std::byte> bytes)
    {
        if (buffer_.size() + bytes.size() > buffer_bytes)
            flush();
        if (bytes.size() > buffer_bytes)
            write(bytes);
        else
            buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    }

    /// Hands everything to `sink(bytes)` in order, in pieces of at most buffer_bytes.
    template <class Sink>
    void replay(Sink&& sink)
    {
        flush();
        buffer_.resize(buffer_bytes);
        for (std::uint64_t position = 0; position < size_;) {
            const std::size_t got =
                read_at(fd_, position, std::as_writable_bytes(std::span(buffer_)), beside_);
            if (got == 0)
                throw file_error("read", beside_, EIO);
            sink(std::span<const std::byte>(buffer_).first(got));
            position += got;
        }
    }

private:
    void flush()
    {
        write(buffer_);
        buffer_.clear();
    }

    void write(std::span<const std::byte> bytes)
    {
        while (!bytes.empty()) {
            const ssize_t done = retried([&] { return ::write(fd_, bytes.data(), bytes.size()); });
            if (done < 0)
                throw file_error("write", beside_, errno);
            bytes = bytes.subspan(static_cast<std::size_t>(done));
            size_ += static_cast<std::uint64_t>(done);
        }
    }

    std::filesystem::path beside_;
    int fd_ = -1;
    std::vector<std::byte> buffer_;
    std::uint64_t size_ = 0; ///< written, without the buffer
};

} // namespace

struct TokenFileWriter::State {
    State(const std::filesystem::path& file_path, TokenFileOrigin file_origin)
        : path(replaceable_file(file_path)), lock(path), origin(std::move(file_origin)),
          tokens(path), offsets(path)
    {
        SLUICE_CHECK(origin.end_token < origin.vocab_size,
                     origin.end_token << " of " << origin.vocab_size);
        narrow = origin.vocab_size <= 65536;
        append_offset();
    }

    void append_offset() { offsets.append(std::as_bytes(std::span(&num_tokens, 1))); }

    void append(std::span<const std::uint32_t> ids)
    {
        for (const std::uint32_t id : ids)
            SLUICE_CHECK(id < origin.vocab_size, "id " << id << " of " << origin.vocab_size);
        std::span<const std::byte> bytes = std::as_bytes(ids);
        if (narrow) {
            narrowed.assign(ids.begin(), ids.end());
            bytes = std::as_bytes(std::span(narrowed));
        }
        checksum.update(bytes);
        tokens.append(bytes);
        num_tokens += ids.size();
    }

    static void copy(Spool& from, Hdf5Writer& to, const char* dataset, Hdf5Type type)
    {
        std::uint64_t first = 0;
        from.replay([&](std::span<const std::byte> bytes) {
            SLUICE_CHECK(bytes.size() % size_of(type) == 0, bytes.size() << " bytes");
            to.write_elements(dataset, first, bytes);
            first += bytes.size() / size_of(type);
        });
    }

    std::uint64_t finish(const std::string& inputs_digest)
    {
        SLUICE_CHECK(num_documents > 0 && !document_is_open, num_documents << " documents");
        Hdf5Writer file(path);
        const Hdf5Type type = narrow ? Hdf5Type::u16 : Hdf5Type::u32;
        const std::uint64_t extents[] = {num_tokens, num_documents + 1};
        file.create_dataset("/tokens", type, std::span(extents).first(1));
        copy(tokens, file, "/tokens", type);
        file.create_dataset("/document_offsets", Hdf5Type::u64, std::span(extents).last(1));
        copy(offsets, file, "/document_offsets", Hdf5Type::u64);
        const std::pair<const char*, Hdf5Attribute> attributes[] = {
            {"format", std::string("sluice-tokens")},
            {"format_version", token_format_version},
            {"tokenizer", origin.tokenizer},
            {"vocab_size", std::uint64_t{origin.vocab_size}},
            {"end_token", std::uint64_t{origin.end_token}},
            {"num_documents", num_documents},
            {"num_tokens", num_tokens},
            {"checksum", checksum.hex()},
            {"inputs_digest", inputs_digest},
            {"split", origin.split},
            {"created_by", origin.created_by}};
        for (const auto& [name, value] : attributes)
            file.set_attribute("/", name, value);
        return file.commit().size_bytes;
    }

    std::filesystem::path path;
    OutputLock lock; // let go when all else is done
    TokenFileOrigin origin;
    Spool tokens, offsets;
    Checksum checksum;
    std::vector<std::uint16_t> narrowed;
    std::uint64_t num_tokens = 0, num_documents = 0;
    bool narrow = true, document_is_open = false;
};

TokenFileWriter::TokenFileWriter(const std::filesystem::path& path, TokenFileOrigin origin)
    : state_(std::make_unique<State>(path, std::move(origin)))
{
}
TokenFileWriter::~TokenFileWriter() = default;
TokenFileWriter::TokenFileWriter(TokenFileWriter&&) noexcept = default;

void TokenFileWriter::append(std::span<const std::uint32_t> tokens)
{
    state_->append(tokens);
    state_->document_is_open = true;
}

void TokenFileWriter::end_document()
{
    state_->append({&state_->origin.end_token, 1});
    state_->append_offset();
    ++state_->num_documents;
    state_->document_is_open = false;
}

std::uint64_t TokenFileWriter::num_documents() const { return state_->num_documents; }
std::uint64_t TokenFileWriter::num_tokens() const { return state_->num_tokens; }
std::uint64_t TokenFileWriter::finish(const std::string& inputs_digest)
{
    return state_->finish(inputs_digest);
}

} // namespace sluice
