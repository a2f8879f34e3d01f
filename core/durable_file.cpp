#include "core/durable_file.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace sluice {

namespace fs = std::filesystem;

namespace {

/// Owns a descriptor and, until told otherwise, the file's right to exist.
class OpenFile {
public:
    OpenFile(const fs::path& path, int flags) : OpenFile(path, flags, path) {}
    /// Errors name `wanted`, of which the user knows.
    OpenFile(const fs::path& path, int flags, const fs::path& wanted) : path_(path), wanted_(wanted)
    {
        descriptor_ = retried([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); });
        if (descriptor_ < 0)
            throw file_error("open", wanted, errno);
    }
    ~OpenFile()
    {
        if (descriptor_ >= 0)
            ::close(descriptor_);
        if (delete_)
            ::unlink(path_.c_str());
    }
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;

    int descriptor() const { return descriptor_; }
    void delete_when_done(bool value) { delete_ = value; }
    void close()
    {
        const int result = ::close(descriptor_);
        descriptor_ = -1;
        // After EINTR the descriptor is gone as well, and the file was fsynced before.
        if (result != 0 && errno != EINTR)
            throw file_error("close", wanted_, errno);
    }

private:
    fs::path path_, wanted_;
    int descriptor_ = -1;
    bool delete_ = false;
};

void write_all(int descriptor, std::span<const std::byte> bytes, const fs::path& path)
{
    while (!bytes.empty()) {
        const ssize_t done =
            retried([&] { return ::write(descriptor, bytes.data(), bytes.size()); });
        if (done < 0)
            throw file_error("write", path, errno);
        bytes = bytes.subspan(static_cast<std::size_t>(done));
    }
}

const char* remedy_for(int error_number)
{
    switch (error_number) {
    case ENOSPC:
    case EDQUOT: return "free some space or raise the quota, then run again";
    case EFBIG: return "raise the limit on file sizes (ulimit -f), then run again";
    case EACCES:
    case EPERM: return "check the permissions of the file and of its folder";
    case EROFS: return "this file system is read-only: choose another folder";
    case ENOENT:
    case ENOTDIR: return "check the path";
    case ELOOP: return "its symbolic links lead in a circle: mend or remove them";
    case ENAMETOOLONG: return "choose a shorter name";
    case EIO: return "the device reports errors: check it before relying on its files";
    default: return "";
    }
}

fs::path folder_of(const fs::path& path)
{
    return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

const char* kind_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR: return "a folder";
    case S_IFIFO: return "a pipe (FIFO)";
    case S_IFSOCK: return "a socket";
    default: return "a device";
    }
}

} // namespace

UserError file_error(std::string_view call, const fs::path& path, int error_number)
{
    return data_error(std::string(std::strerror(error_number)) + " (" + std::string(call) + ")",
                      path.string(), remedy_for(error_number));
}

UserError file_error(const fs::filesystem_error& error)
{
    std::string where = error.path1().string();
    if (!error.path2().empty())
        where += " and " + error.path2().string();
    const std::string remedy = remedy_for(error.code().value());
    return data_error(error.code().message(), where, remedy.empty() ? "check the path" : remedy);
}

void report_size_limit_as_error()
{
    struct sigaction current {};
    if (::sigaction(SIGXFSZ, nullptr, &current) == 0 && current.sa_handler == SIG_DFL) {
        current.sa_handler = SIG_IGN;
        ::sigaction(SIGXFSZ, &current, nullptr);
    }
}

fs::path replaceable_file(const fs::path& path)
{
    struct stat status {};
    if (retried([&] { return ::stat(path.c_str(), &status); }) == 0) {
        if (!S_ISREG(status.st_mode))
            throw data_error(std::string("this is ") + kind_of(status.st_mode) +
                                 ", which a file would replace",
                             path.string(), "name a file, or what is not there yet");
    } else if (errno != ENOENT) {
        throw file_error("stat", path, errno);
    }
    // Link by link: canonical() wants the end to be there. Links in a circle were refused above.
    fs::path file = path;
    std::error_code error;
    while (fs::is_symlink(fs::symlink_status(file, error)))
        file = folder_of(file) / fs::read_symlink(file);
    return file;
}

void write_file_durably(const fs::path& wanted, std::span<const std::byte> bytes)
{
    report_size_limit_as_error();
    const fs::path path = replaceable_file(wanted);
    const fs::path temporary = path.string() + ".partial";
    // Not into a file that another process has open: one that was stopped while it wrote may wake.
    ::unlink(temporary.c_str());
    OpenFile file(temporary, O_WRONLY | O_CREAT | O_TRUNC, path);
    file.delete_when_done(true);
    write_all(file.descriptor(), bytes, path);
    if (retried([&] { return ::fsync(file.descriptor()); }) != 0)
        throw file_error("fsync", path, errno);
    file.close();
    rename_durably(temporary, path);
    file.delete_when_done(false);
}

void write_file_durably(const fs::path& path, std::string_view text)
{
    write_file_durably(path, std::as_bytes(std::span(text)));
}

bool write_over(const fs::path& path, std::string_view text)
{
    try {
        OpenFile file(path, O_WRONLY | O_NONBLOCK); // no pipe without a reader
        struct stat status {};
        constexpr std::uint64_t bytes_of_block = 512; // of st_blocks, whatever st_blksize is
        if (::fstat(file.descriptor(), &status) != 0 || !S_ISREG(status.st_mode) ||
            text.size() > static_cast<std::uint64_t>(status.st_blocks) * bytes_of_block)
            return false;
        std::string whole(text);
        whole.resize(std::max(text.size(), static_cast<std::size_t>(status.st_size)), ' ');
        write_all(file.descriptor(), std::as_bytes(std::span(whole)), path);
        return retried([&] { return ::fsync(file.descriptor()); }) == 0;
    } catch (const UserError&) {
        return false;
    }
}

void rename_durably(const fs::path& from, const fs::path& to)
{
    if (::rename(from.c_str(), to.c_str()) != 0)
        throw file_error("rename", to, errno);
    fsync_folder(folder_of(to));
}

void remove_folder(const fs::path& folder, std::error_code& error)
{
    do
        fs::remove_all(folder, error);
    while (error == std::errc::interrupted);
}

void fsync_folder(const fs::path& folder)
{
    OpenFile directory(folder, O_RDONLY | O_DIRECTORY);
    // EINVAL: file systems that keep folders durable by themselves and have no call for it.
    if (retried([&] { return ::fsync(directory.descriptor()); }) != 0 && errno != EINVAL)
        throw file_error("fsync", folder, errno);
}

std::size_t read_at(int descriptor, std::uint64_t offset, std::span<std::byte> into,
                    const fs::path& path)
{
    std::size_t done = 0;
    while (done < into.size()) {
        const ssize_t got = retried([&] {
            return ::pread(descriptor, into.data() + done, into.size() - done,
                           static_cast<off_t>(offset + done));
        });
        if (got < 0)
            throw file_error("read", path, errno);
        if (got == 0)
            break;
        done += static_cast<std::size_t>(got);
    }
    return done;
}

std::string read_file(const fs::path& path, std::uint64_t max_bytes)
{
    OpenFile file(path, O_RDONLY);
    struct stat status {};
    if (::fstat(file.descriptor(), &status) != 0)
        throw file_error("fstat", path, errno);
    if (S_ISDIR(status.st_mode))
        throw file_error("read", path, EISDIR);
    std::string text;
    std::string piece(std::size_t{1} << 16, '\0');
    for (;;) {
        const ssize_t got =
            retried([&] { return ::read(file.descriptor(), piece.data(), piece.size()); });
        if (got < 0)
            throw file_error("read", path, errno);
        if (got == 0)
            return text;
        text.append(piece, 0, static_cast<std::size_t>(got));
        if (text.size() > max_bytes)
            throw data_error("the file has more than " + std::to_string(max_bytes) + " bytes",
                             path.string(), "check that this is the right file");
    }
}

std::optional<std::uint64_t> free_space(const fs::path& folder)
{
    struct statvfs status {};
    if (::statvfs(folder.c_str(), &status) != 0 || status.f_frsize == 0)
        return std::nullopt;
    const std::uint64_t unit = status.f_frsize;
    return status.f_bavail > ~std::uint64_t{0} / unit
               ? ~std::uint64_t{0}
               : static_cast<std::uint64_t>(status.f_bavail) * unit;
}

void require_free_space(const fs::path& folder, std::uint64_t bytes)
{
    const auto free_bytes = free_space(folder);
    if (free_bytes && *free_bytes < bytes)
        throw data_error("not enough free space: " + std::to_string((bytes >> 20) + 1) +
                             " MiB needed, " + std::to_string(*free_bytes >> 20) + " MiB free",
                         folder.string(), "free some space or choose a folder on another disk");
}

} // namespace sluice
