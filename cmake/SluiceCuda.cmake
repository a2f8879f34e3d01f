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

if(SLUICE_HAS_CUDA)
    list(JOIN CMAKE_CUDA_ARCHITECTURES " " architectures)
    message(STATUS "CUDA ${CUDAToolkit_VERSION}: compiling for ${architectures}")
    # As on the CPU the code says fma where it wants one (-fmad=false).
    target_compile_options(sluice_flags INTERFACE
        "$<$<COMPILE_LANGUAGE:CUDA>:-fmad=false;--expt-relaxed-constexpr;-Xcompiler=-Wall,-Wextra,-ffp-contract=off>")
    if(SLUICE_WERROR)
        target_compile_options(sluice_flags INTERFACE
            "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>")
    endif()
else()
    message(STATUS "no CUDA in this build: GPUs cannot be used")
endif()
