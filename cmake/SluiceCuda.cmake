# The CUDA toolkit, where there is one: the folders named cuda are then compiled; otherwise their
# *_absent.cpp stand in, which throw a clear error.
option(SLUICE_CUDA "Compile for NVIDIA GPUs when the CUDA toolkit is found" ON)
set(SLUICE_HAS_CUDA OFF)
if(SLUICE_CUDA)
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
        # 120 (and PTX for whatever comes between) only where this compiler knows it.
        if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
            set(architectures 80-real 90)
            execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-code OUTPUT_VARIABLE known
                            ERROR_QUIET)
            if(known MATCHES "sm_120")
                list(APPEND architectures 120-real)
            endif()
            set(CMAKE_CUDA_ARCHITECTURES "${architectures}" CACHE STRING
                "GPU architectures to compile for (80: A100, 90: H100 and H200, 120: RTX 50)")
        endif()
        enable_language(CUDA)
        find_package(CUDAToolkit REQUIRED)
        if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION) # CMake 3.25 does not know that nvcc speaks it
            set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
        endif()
        set(CMAKE_CUDA_STANDARD 20)
        set(CMAKE_CUDA_STANDARD_REQUIRED ON)
        set(CMAKE_CUDA_EXTENSIONS OFF)
        if(CCACHE_PROGRAM)
            set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
        endif()
        set(SLUICE_HAS_CUDA ON)
    endif()
endif()

# NCCL is loaded when ranks with GPUs of their own connect: only its header is needed here.
set(SLUICE_HAS_NCCL OFF)
if(SLUICE_HAS_CUDA)
    find_path(SLUICE_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV NCCL_HOME
              PATH_SUFFIXES include)
    find_library(SLUICE_NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR} ENV NCCL_HOME
                 PATH_SUFFIXES lib)
    if(SLUICE_NCCL_INCLUDE AND SLUICE_NCCL_LIBRARY)
        set(SLUICE_HAS_NCCL ON)
        message(STATUS "NCCL: ${SLUICE_NCCL_LIBRARY}")
    else()
        message(STATUS "no NCCL: messages between GPUs go by MPI")
    endif()
endif()

# cuDNN's attention (precision.attention = "cudnn"): its headers and those of NVIDIA's cudnn-frontend,
# as `pip download --no-deps nvidia-cudnn-cu13 nvidia-cudnn-frontend` brings them. The library is
# loaded when attention first asks for it.
option(SLUICE_CUDNN "Compile cuDNN's attention when its headers and cudnn-frontend are found" ON)
set(CUDNN_ROOT "" CACHE PATH "Folder of cuDNN (include/cudnn.h, lib/libcudnn.so.9)")
set(CUDNN_FRONTEND_ROOT "" CACHE PATH "Folder of cudnn-frontend (include/cudnn_frontend.h)")
set(SLUICE_OLDEST_CUDNN_FRONTEND 1.18)
set(SLUICE_HAS_CUDNN OFF)
if(SLUICE_HAS_CUDA AND SLUICE_CUDNN)
    find_path(SLUICE_CUDNN_INCLUDE cudnn.h HINTS ${CUDNN_ROOT} ENV CUDNN_ROOT
              ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
    find_path(SLUICE_CUDNN_FRONTEND_INCLUDE cudnn_frontend.h HINTS ${CUDNN_FRONTEND_ROOT}
              ENV CUDNN_FRONTEND_ROOT ${CUDNN_ROOT} ENV CUDNN_ROOT ${CUDAToolkit_INCLUDE_DIRS}
              PATH_SUFFIXES include)
    find_library(SLUICE_CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 HINTS ${CUDNN_ROOT} ENV CUDNN_ROOT
                 ${CUDAToolkit_LIBRARY_DIR} PATH_SUFFIXES lib)
    if(SLUICE_CUDNN_INCLUDE AND SLUICE_CUDNN_FRONTEND_INCLUDE)
        file(STRINGS ${SLUICE_CUDNN_FRONTEND_INCLUDE}/cudnn_frontend_version.h frontend_version
             REGEX "define CUDNN_FRONTEND_(MAJOR|MINOR)_VERSION")
        string(REGEX MATCHALL "[0-9]+" frontend_version "${frontend_version}")
        list(JOIN frontend_version "." frontend_version)
        if(frontend_version VERSION_LESS SLUICE_OLDEST_CUDNN_FRONTEND)
            message(STATUS "no cuDNN: cudnn-frontend ${frontend_version} is older than "
                           "${SLUICE_OLDEST_CUDNN_FRONTEND}")
        else()
            set(SLUICE_HAS_CUDNN ON)
            message(STATUS "cuDNN: ${SLUICE_CUDNN_INCLUDE}, cudnn-frontend ${frontend_version}")
        endif()
    else()
        message(STATUS "no cuDNN: attention by our own kernels alone")
    endif()
endif()

if(SLUICE_HAS_CUDA)
    list(JOIN CMAKE_CUDA_ARCHITECTURES " " architectures)
    message(STATUS "CUDA ${CUDAToolkit_VERSION}: compiling for ${architectures}")
    # As on the CPU the code says fma where it wants one (-fmad=false). Kernels that spill are slow.
    target_compile_options(sluice_flags INTERFACE
        "$<$<COMPILE_LANGUAGE:CUDA>:-fmad=false;--expt-relaxed-constexpr;-Xcompiler=-Wall,-Wextra,-ffp-contract=off;-Xptxas=--warn-on-spills>")
    if(SLUICE_WERROR)
        target_compile_options(sluice_flags INTERFACE
            "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>")
    endif()
else()
    message(STATUS "no CUDA in this build: GPUs cannot be used")
endif()
